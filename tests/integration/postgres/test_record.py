"""Recording in Postgres: a whole decision or nothing, and only while the lease is held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy.exc

from tests.support.builders import LIMITS
from tests.support.leases import claim_and_load, decision_on
from tests.support.stored import Stored
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.domain.errors import ServerError
from worker.domain.session import Observation
from worker.domain.transitions import give_up
from worker.services.sessions import LeasedSession, Recorded

pytestmark = pytest.mark.anyio

CANARY = "canary-token"
PAID = Observation(
    status="COMPLETED",
    updated_at=datetime(2026, 5, 1, tzinfo=UTC),
    authorization_token=CANARY,
    order_id="order-1",
    klarna_reference="REF1",
)


@pytest.fixture
async def leased(sessions: PostgresSessions, stored: Stored) -> LeasedSession:
    stored.add_session("s1", reference="order-1")
    return (await claim_and_load(sessions))["s1"]


def events(stored: Stored) -> list[str]:
    return [
        row["event_type"]
        for row in stored.rows("SELECT event_type FROM outbox_messages ORDER BY sequence")
    ]


# --- one session


async def test_a_change_is_written_with_its_transition_and_frees_the_lease(
    sessions: PostgresSessions, stored: Stored, leased: LeasedSession
):
    decision = decision_on(leased, Observation(status="WAITING", updated_at=PAID.updated_at))

    assert await sessions.record(leased, decision) == Recorded(nudged=False)

    row = stored.session("s1")
    (transition,) = stored.rows("SELECT * FROM status_transitions")
    assert (row["status"], row["status_updated_at"]) == ("WAITING", PAID.updated_at)
    assert (row["lease_id"], row["lease_expires_at"]) == (None, None)
    assert row["next_poll_at"] == decision.session.next_poll_at
    assert (row["poll_count"], row["transition_count"], row["reference"]) == (1, 1, "order-1")
    assert transition == {
        "session_id": "s1",
        "sequence": 1,
        "from_status": None,
        "to_status": "WAITING",
        "occurred_at": PAID.updated_at,
        "observed_at": leased.loaded_at,
        "previous_read_at": None,
    }
    assert events(stored) == []


async def test_each_poll_leaves_its_time_the_newest_first(
    sessions: PostgresSessions, stored: Stored, leased: LeasedSession
):
    """In seconds since the session was tracked; failed polls are inverted."""
    answers = ["WAITING", "WAITING", ServerError(), "IN_PROGRESS"]
    for number, answer in enumerate(answers):
        assert await sessions.record(leased, decision_on(leased, answer))
        stored.rows("UPDATE payment_sessions SET tracked_at = now() - %s * interval '1 h'", number)
        stored.put_due("s1", -1)
        leased = (await claim_and_load(sessions))["s1"]

    assert stored.session("s1")["polled_seconds"] == [7200, ~3600, 0, 0]


@pytest.mark.parametrize(
    ("tracked", "polled"),
    [("now() - interval '200 years'", 2**31 - 1), ("now() + interval '200 years'", 0)],
)
async def test_no_time_of_tracking_keeps_a_poll_from_being_written(
    sessions: PostgresSessions, stored: Stored, tracked: str, polled: int
):
    """The times are only for people, so they never make a record fail."""
    stored.add_session("s2", polled_seconds=list(range(200)), due_in=-1)
    stored.rows(f"UPDATE payment_sessions SET tracked_at = {tracked}")  # noqa: S608 - ours
    leased = (await claim_and_load(sessions))["s2"]

    assert await sessions.record(leased, decision_on(leased, "WAITING"))

    assert stored.session("s2")["polled_seconds"] == [polled, *range(199)]


async def test_giving_up_unread_is_no_poll(
    sessions: PostgresSessions, stored: Stored, leased: LeasedSession
):
    """A decision without a read leaves no time."""
    later = leased.loaded_at + timedelta(days=9)
    given_up = give_up(leased.session, now=later, limits=LIMITS)
    assert given_up is not None

    assert await sessions.record(leased, given_up)

    assert stored.session("s1")["outcome"] == "expired"
    assert stored.session("s1")["polled_seconds"] is None


async def test_an_end_is_written_with_its_events_and_a_delivery_for_each_sink(
    sessions: PostgresSessions, stored: Stored, leased: LeasedSession
):
    decision = decision_on(leased, PAID)

    assert await sessions.record(leased, decision) == Recorded(nudged=False)

    row = stored.session("s1")
    assert (row["outcome"], row["next_poll_at"], row["lease_id"]) == ("completed", None, None)
    assert (row["order_id"], row["klarna_reference"]) == ("order-1", "REF1")
    assert events(stored) == ["payment_session.authorized", "payment_session.order_placed"]
    deliveries = stored.rows(
        "SELECT event_id, sink, sequence FROM outbox_deliveries ORDER BY sequence, sink"
    )
    assert [(d["event_id"], d["sink"], d["sequence"]) for d in deliveries] == [
        (event.event_id, sink, event.sequence)
        for event in decision.events
        for sink in ("celery", "redis_stream")
    ]
    payloads = stored.rows("SELECT payload FROM outbox_messages ORDER BY sequence")
    assert [p["payload"] for p in payloads] == [event.envelope() for event in decision.events]


async def test_the_token_is_encrypted_at_rest_and_stands_nowhere_else(
    sessions: PostgresSessions,
    stored: Stored,
    leased: LeasedSession,
    cipher: FernetTokenCipher,
):
    await sessions.record(leased, decision_on(leased, PAID))

    assert cipher.decrypt(stored.session("s1")["authorization_token"]) == CANARY
    for table in ("payment_sessions", "status_transitions", "outbox_messages", "accounts"):
        for row in stored.rows(f"SELECT t::text AS whole FROM {table} AS t"):  # noqa: S608 - ours
            assert CANARY not in row["whole"]
            assert CANARY.encode().hex() not in row["whole"]


async def test_a_token_outlives_later_records_that_know_none(
    sessions: PostgresSessions, stored: Stored, leased: LeasedSession
):
    stored.rows("UPDATE payment_sessions SET authorization_token = 'kept'")

    await sessions.record(leased, decision_on(leased, "WAITING"))

    assert stored.session("s1")["authorization_token"] == b"kept"


@pytest.mark.parametrize("answer", ["WAITING", PAID, ServerError()], ids=["change", "end", "quiet"])
async def test_a_lost_lease_writes_nothing(
    sessions: PostgresSessions,
    stored: Stored,
    leased: LeasedSession,
    answer: Observation | ServerError | str,
):
    stored.run_out("s1")
    await claim_and_load(sessions)
    before = stored.session("s1")

    assert await sessions.record(leased, decision_on(leased, answer)) is None

    assert stored.session("s1") == before
    assert stored.statuses("s1") == events(stored) == []


async def test_a_lease_that_ran_out_and_is_nobody_elses_still_records(
    sessions: PostgresSessions, stored: Stored, leased: LeasedSession
):
    stored.run_out("s1")

    assert await sessions.record(leased, decision_on(leased, "WAITING")) == Recorded(nudged=False)

    assert stored.statuses("s1") == ["WAITING"]


async def test_history_that_cannot_be_written_takes_the_sessions_row_back_with_it(
    sessions: PostgresSessions, stored: Stored, leased: LeasedSession
):
    decision = decision_on(leased, PAID)
    stored.add_message("s1", decision.events[-1].sequence)
    before = stored.session("s1")

    with pytest.raises(sqlalchemy.exc.IntegrityError):
        await sessions.record(leased, decision)

    assert stored.session("s1") == before
    assert stored.statuses("s1") == []
    assert events(stored) == ["payment_session.cancelled"]
