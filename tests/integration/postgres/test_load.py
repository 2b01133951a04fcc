"""Loading claimed sessions: their leases get a new id, so that a message works once."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from tests.support.leases import CLAIMS, LEASE, claims
from tests.support.stored import Stored
from worker.adapters.postgres.sessions.repository import PostgresSessions

pytestmark = pytest.mark.anyio


async def test_loading_renews_the_lease_under_an_id_that_the_message_does_not_have(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1")
    (task,) = await sessions.claim("default", tasks=1, limits=claims())
    before = stored.session("s1")

    (leased,) = await sessions.load(["s1"], task.lease_id, lease=timedelta(seconds=90))

    after = stored.session("s1")
    assert leased.lease_id == after["lease_id"] != task.lease_id
    assert after["lease_expires_at"] - before["lease_expires_at"] > timedelta(seconds=55)
    assert after["lease_expires_at"] - leased.loaded_at < timedelta(seconds=90)
    assert (leased.account.version, leased.account.refusals) == (0, 0)


async def test_of_several_deliveries_of_a_message_only_the_first_finds_anything(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1")
    (task,) = await sessions.claim("default", tasks=1, limits=CLAIMS)
    found: list[int] = []

    async def load() -> None:
        found.append(len(await sessions.load(["s1"], task.lease_id, lease=LEASE)))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(load)

    assert sorted(found) == [0, 0, 0, 0, 1]


async def test_a_lease_that_ran_out_finds_nothing(sessions: PostgresSessions, stored: Stored):
    stored.add_session("s1")
    (task,) = await sessions.claim("default", tasks=1, limits=CLAIMS)
    stored.run_out("s1")

    assert await sessions.load(["s1"], task.lease_id, lease=LEASE) == []


async def test_a_session_is_loaded_with_its_accounts_state(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_account(version=4, refusals=1, throttles=2)
    stored.add_session("s1", authorization_token=b"secret")
    (task,) = await sessions.claim("default", tasks=1, limits=CLAIMS)

    (leased,) = await sessions.load(["s1"], task.lease_id, lease=LEASE)

    assert (leased.account.version, leased.account.refusals, leased.account.throttles) == (4, 1, 2)
    assert leased.session.authorization_token is None
