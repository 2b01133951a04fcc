"""Which payments are delivered to the sinks of shop systems, in whatever order things happen."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support import leases
from tests.support.leases import claim_and_load, decision_on
from tests.support.stored import Stored
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.adapters.postgres.sessions.shop_objects import PostgresSessionLookup
from worker.domain.deliveries import PAYWAY, Route
from worker.domain.events import EventType
from worker.domain.session import Kind, Observation

pytestmark = pytest.mark.anyio

NAMED = {"payway": {"klarna_payments_session_id": "5aba2ca36fc93613f8000012"}}
AUTHORIZED = Observation(status="authorized", authorization_token="canary-token")


@pytest.fixture
def sessions(engine: AsyncEngine, cipher: FernetTokenCipher) -> PostgresSessions:
    """With a stream for all events, and Payway."""
    payway = Route(sink=PAYWAY, types=frozenset({EventType.AUTHORIZED}))
    return PostgresSessions(engine, cipher=cipher, routes=(Route(sink="redis_stream"), payway))


async def track(sessions: PostgresSessions, **arguments: object) -> None:
    tracked = await leases.track(sessions, kind=Kind.KP, **arguments)
    if tracked.poll is not None:
        await sessions.release(["s1"], [tracked.poll.lease_id])


async def authorize(sessions: PostgresSessions) -> None:
    leased = (await claim_and_load(sessions))["s1"]
    await sessions.record(leased, decision_on(leased, AUTHORIZED))


def sinks(stored: Stored) -> list[str]:
    """The sinks that have a delivery."""
    row = stored.value("SELECT string_agg(sink, ',' ORDER BY sink) FROM outbox_deliveries")
    return row.split(",") if row else []


async def test_a_payment_tracked_by_its_name_is_delivered_to_its_sink(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1", kind="kp")
    await track(sessions, shop_objects=NAMED)
    await authorize(sessions)

    assert sinks(stored) == ["payway", "redis_stream"]


async def test_another_payment_is_not(sessions: PostgresSessions, stored: Stored):
    stored.add_session("s1", kind="kp")
    await authorize(sessions)

    assert sinks(stored) == ["redis_stream"]


async def test_a_name_given_while_the_read_is_under_way_counts(
    sessions: PostgresSessions, stored: Stored
):
    """The session was loaded before its shop objects were stored."""
    stored.add_session("s1", kind="kp")
    leased = (await claim_and_load(sessions))["s1"]
    await track(sessions, shop_objects=NAMED)

    await sessions.record(leased, decision_on(leased, AUTHORIZED))

    assert sinks(stored) == ["payway", "redis_stream"]


async def test_a_name_given_afterwards_makes_up_for_it_once(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1", kind="kp")
    await authorize(sessions)

    await track(sessions, shop_objects=NAMED)
    await track(sessions, shop_objects=NAMED)

    assert sinks(stored) == ["payway", "redis_stream"]
    assert stored.session("s1")["outcome"] == "completed"


async def test_a_name_given_when_the_token_is_erased_comes_too_late(
    sessions: PostgresSessions, stored: Stored
):
    """Without the token no order can be placed, so there is no delivery that could only fail."""
    stored.add_session("s1", kind="kp")
    await authorize(sessions)
    stored.rows("UPDATE payment_sessions SET authorization_token = NULL RETURNING session_id")

    await track(sessions, shop_objects=NAMED)

    assert sinks(stored) == ["redis_stream"]


async def test_a_sink_finds_its_payment_without_the_token(
    sessions: PostgresSessions, stored: Stored, engine: AsyncEngine
):
    stored.add_session("s1", kind="kp")
    await track(sessions, shop_objects=NAMED, reference="order-1")
    await authorize(sessions)

    found = await PostgresSessionLookup(engine).find("s1")

    assert found is not None
    assert (found.shop_objects, found.reference) == (NAMED, "order-1")
    assert found.authorization_token is None
    assert await PostgresSessionLookup(engine).find("s2") is None


async def test_a_new_session_keeps_its_name(sessions: PostgresSessions, stored: Stored):
    await track(sessions, shop_objects=NAMED)

    assert stored.session("s1")["shop_objects"] == NAMED
