"""Housekeeping over the real database: gives up, erases and purges, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
import psycopg
import pytest

from tests.support.stored import Stored
from tests.support.wired import OpenServices, eventually_beside
from worker.domain.events import Event, EventType

pytestmark = pytest.mark.anyio

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ENDED = {"tracked_at": LONG_AGO, "expires_at": LONG_AGO}


async def test_what_could_never_be_read_is_given_up_with_its_event_and_its_last_error(
    services: OpenServices, stored: Stored
):
    stored.add_account(paused_for=600, refusals=5)
    stored.add_session("over", **ENDED, last_error="account_refused: HTTP 401")
    stored.add_session("open", expires_at=datetime(2100, 1, 1, tzinfo=UTC))

    async with services() as opened:
        await opened.housekeeping.purge()

    over = stored.session("over")
    assert (over["outcome"], over["next_poll_at"], over["lease_id"]) == ("expired", None, None)
    assert over["last_error"] == "account_refused: HTTP 401"
    assert stored.session("open")["outcome"] is None
    assert stored.value("SELECT event_type FROM outbox_messages") == "payment_session.expired"


async def test_a_session_that_another_took_meanwhile_is_not_given_up(
    services: OpenServices, stored: Stored, database_url: str
):
    stored.add_account(paused_for=600, refusals=5)
    stored.add_session("s1", **ENDED)
    stored.add_session("s2", **ENDED)
    stored.add_session("other", expires_at=datetime(2100, 1, 1, tzinfo=UTC))

    async with services() as opened, anyio.create_task_group() as group:
        with psycopg.connect(database_url) as locking:
            # The writer of an event of that id waits, with its session's row locked.
            for sequence, session_id in enumerate(("s1", "s2")):
                locking.execute(_SAME_EVENT, [expiry_of(session_id).event_id, sequence])
            group.start_soon(opened.housekeeping.purge)
            # The one that is being written is locked; the other is taken away.
            taken = await eventually_beside(lambda: take_lease(stored))
            locking.rollback()

    given_up = {"s1", "s2"} - {taken}
    assert stored.session(taken)["outcome"] is None
    assert [stored.session(session_id)["outcome"] for session_id in given_up] == ["expired"]


_SAME_EVENT = """
    INSERT INTO outbox_messages (event_id, session_id, sequence, event_type, payload)
    VALUES (%s, 'other', %s, 'payment_session.expired', '{}')
"""


def expiry_of(session_id: str) -> Event:
    return Event(type=EventType.EXPIRED, session_id=session_id, sequence=1, time=LONG_AGO, data={})


def take_lease(stored: Stored) -> str | None:
    waits = stored.value(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    if not waits:
        return None
    (row,) = stored.rows(
        "UPDATE payment_sessions SET lease_id = gen_random_uuid() WHERE session_id IN"
        " (SELECT session_id FROM payment_sessions"
        " WHERE lease_id IS NOT NULL FOR UPDATE SKIP LOCKED)"
        " RETURNING session_id"
    )
    return row["session_id"]


async def test_the_purge_goes_on_until_nothing_old_is_left_and_keeps_the_undelivered(
    services: OpenServices, stored: Stored
):
    finished = {"outcome": "expired", "finished_at": LONG_AGO, "next_poll_at": None}
    stored.rows(
        "INSERT INTO payment_sessions"
        " (session_id, account, kind, session_url, outcome, finished_at, next_poll_at)"
        " SELECT 's' || n, 'default', 'hpp', 'u', 'expired', %s, NULL"
        " FROM generate_series(1, 501) AS n",
        LONG_AGO,
    )
    stored.add_session("undelivered", **finished)
    stored.add_message("undelivered", 1)
    stored.add_session("young", **(finished | {"finished_at": "now"}))

    async with services(RETENTION_DAYS="30") as opened:
        assert await opened.housekeeping.purge() == 501

    left = stored.rows("SELECT session_id FROM payment_sessions ORDER BY session_id")
    assert [row["session_id"] for row in left] == ["undelivered", "young"]


@pytest.mark.parametrize("delivered", [True, False])
async def test_a_token_is_erased_when_its_hour_is_over(
    services: OpenServices, stored: Stored, *, delivered: bool
):
    done = {"outcome": "completed", "finished_at": "now", "next_poll_at": None}
    seen = {"authorization_token": b"encrypted", "status": "COMPLETED"}
    for session_id in ("spent", "fresh"):
        stored.add_session(session_id, **done, **seen)
    stored.rows(
        "UPDATE payment_sessions SET finished_at = now() - interval '61 minutes'"
        " WHERE session_id = 'spent'"
    )
    stored.add_message("spent", 1, event_type="payment_session.authorized")
    if delivered:
        stored.rows("UPDATE outbox_deliveries SET delivered_at = now()")

    async with services() as opened:
        await opened.housekeeping.purge()

    assert stored.session("spent")["authorization_token"] is None
    assert stored.session("fresh")["authorization_token"] == b"encrypted"
