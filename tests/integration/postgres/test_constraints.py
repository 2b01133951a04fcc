"""What the tables' constraints refuse, which sessions are given up unread, and which are purged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.leases import claim_and_load, decision_on
from tests.support.stored import Stored
from worker.adapters.postgres.purge import PostgresPurge
from worker.adapters.postgres.sessions.repository import PostgresSessions

FINISHED = {"outcome": "expired", "finished_at": "now", "next_poll_at": None}
MAX_LIFETIME = timedelta(hours=48)


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"kind": "checkout"}, "kind"),
        (FINISHED | {"outcome": "paid"}, "outcome"),
        (FINISHED | {"finished_at": None}, "finished_with_outcome"),
        ({"finished_at": "now"}, "finished_with_outcome"),
        (FINISHED | {"next_poll_at": "now"}, "open_has_next_poll"),
        ({"next_poll_at": None}, "open_has_next_poll"),
        ({"lease_id": uuid4()}, "lease_has_an_end"),
        ({"lease_expires_at": "now"}, "lease_has_an_end"),
    ],
    ids=[
        "unknown kind",
        "unknown outcome",
        "outcome without an end",
        "end without an outcome",
        "finished and due",
        "open and never due",
        "endless lease",
        "nobody's lease",
    ],
)
def test_a_session_that_must_not_be_is_refused(
    stored: Stored, columns: dict[str, Any], constraint: str
):
    with pytest.raises(psycopg.errors.CheckViolation, match=f"ck_payment_sessions_{constraint}"):
        stored.add_session("s1", **columns)


def test_a_delivery_is_not_both_delivered_and_dead(stored: Stored):
    event_id = stored.add_message(stored.add_session("s1"), 1)

    with pytest.raises(psycopg.errors.CheckViolation, match="one_end"):
        stored.rows(
            "UPDATE outbox_deliveries SET delivered_at = now(), dead_at = now()"
            " WHERE event_id = %s",
            event_id,
        )


def test_a_sequence_is_given_once(stored: Stored):
    stored.add_message(stored.add_session("s1"), 1)

    with pytest.raises(psycopg.errors.UniqueViolation):
        stored.add_message("s1", 1)


# --- given up unread

LEASED = "lease_id = gen_random_uuid(), lease_expires_at = "
OLD = "tracked_at = now() - interval '9 days'"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("columns", "is_over"),
    [
        (f"{OLD}, expires_at = now() - interval '26 hours'", True),
        (f"{OLD}, expires_at = now() - interval '24 hours'", False),
        ("expires_at = '2020-1-1'", False),
        ("tracked_at = now() - interval '74 hours'", True),
        ("tracked_at = now() - interval '72 hours'", False),
        (
            f"{OLD}, expires_at = now() - interval '26 hours', nudged_at = now() - interval '1 h'",
            False,
        ),
        (
            f"{OLD}, expires_at = now() - interval '50 h', nudged_at = now() - interval '26 h'",
            True,
        ),
        (
            f"{OLD}, expires_at = '2020-1-1', {LEASED}'infinity'",
            False,
        ),
        (
            f"{OLD}, expires_at = '2020-1-1', {LEASED}'now'",
            True,
        ),
    ],
    ids=[
        "expired long ago",
        "expired a day ago",
        "expired long ago, tracked just now",
        "without an expiry, tracked long ago",
        "without an expiry, tracked three days ago",
        "nudged just now",
        "nudged long ago",
        "being polled",
        "its lease ran out",
    ],
)
async def test_what_ended_more_than_a_day_ago_is_leased_for_giving_it_up(
    sessions: PostgresSessions, stored: Stored, columns: str, *, is_over: bool
):
    stored.add_account(paused_for=60, refusals=5)
    stored.add_session("s1")
    stored.add_session("open")
    stored.rows(f"UPDATE payment_sessions SET {columns} WHERE session_id = 's1'")  # noqa: S608 - ours

    batch = await sessions.overdue_ends(max_lifetime=MAX_LIFETIME, limit=10)

    assert [leased.session.session_id for leased in batch] == (["s1"] if is_over else [])
    assert [leased.lease_id for leased in batch] == (
        [stored.session("s1")["lease_id"]] if is_over else []
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    "account",
    [
        pytest.param({}, id="healthy"),
        pytest.param({"paused_for": 60, "throttles": 3}, id="slowed"),
        pytest.param({"paused_for": -3600, "refusals": 9}, id="refused, but nobody tried lately"),
    ],
)
async def test_what_can_be_read_is_never_given_up_unread(
    sessions: PostgresSessions, stored: Stored, account: dict[str, float]
):
    long_ago = "2020-01-01T00:00:00Z"
    stored.add_account(**account)
    stored.add_session("s1", tracked_at=long_ago, expires_at=long_ago)

    assert await sessions.overdue_ends(max_lifetime=MAX_LIFETIME, limit=10) == []


@pytest.mark.anyio
async def test_giving_up_is_limited_and_finds_nothing_twice(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_account(paused_for=60, refusals=5)
    long_ago = "2020-01-01T00:00:00Z"
    for number in range(3):
        stored.add_session(f"s{number}", tracked_at=long_ago, expires_at=long_ago)

    found = [await sessions.overdue_ends(max_lifetime=MAX_LIFETIME, limit=2) for _ in range(3)]

    assert [len(batch) for batch in found] == [2, 1, 0]


# --- purged


@pytest.mark.anyio
async def test_only_what_is_old_finished_and_delivered_is_deleted_with_its_history(
    sessions: PostgresSessions, engine: AsyncEngine, stored: Stored
):
    purge = PostgresPurge(engine, sinks=["redis_stream"])
    stored.add_session("old")
    leased = (await claim_and_load(sessions))["old"]
    await sessions.record(leased, decision_on(leased, "CANCELLED"))
    for session_id in ("dead", "undelivered", "young"):
        stored.add_session(session_id, **FINISHED)
        stored.add_message(session_id, 1)
    stored.add_session("open")
    stored.rows(
        "UPDATE payment_sessions SET finished_at = now() - interval '31 days'"
        " WHERE finished_at IS NOT NULL AND session_id <> 'young'"
    )
    stored.rows("UPDATE outbox_deliveries SET dead_at = now() WHERE session_id = 'dead'")
    stored.rows("UPDATE outbox_deliveries SET delivered_at = now() WHERE session_id = 'old'")

    deleted = await purge.delete_finished(older_than=timedelta(days=30), limit=10)

    left = stored.rows("SELECT session_id FROM payment_sessions ORDER BY session_id")
    assert deleted == 2
    assert [row["session_id"] for row in left] == ["open", "undelivered", "young"]
    for table in ("status_transitions", "outbox_messages", "outbox_deliveries"):
        query = f"SELECT count(*) FROM {table} WHERE session_id IN ('old', 'dead')"  # noqa: S608 - ours
        assert stored.value(query) == 0


@pytest.mark.anyio
async def test_what_waits_for_no_configured_sink_or_a_disabled_one_is_not_kept_for_ever(
    engine: AsyncEngine, stored: Stored
):
    purge = PostgresPurge(engine, sinks=["redis_stream", "webhook", "webhook:gone"])
    for session_id, sink in (("a", "webhook"), ("b", "webhook:old"), ("c", "webhook:gone")):
        stored.add_session(session_id, **(FINISHED | {"finished_at": "2020-01-01T00:00:00Z"}))
        stored.add_message(session_id, 1, sinks=(sink,))
    stored.rows("INSERT INTO webhook_endpoints (sink, disabled_at) VALUES ('webhook:gone', now())")

    await purge.delete_finished(older_than=timedelta(days=30), limit=10)

    assert [row["session_id"] for row in stored.rows("SELECT * FROM payment_sessions")] == ["a"]


@pytest.mark.anyio
async def test_a_purge_deletes_no_more_than_its_batch(engine: AsyncEngine, stored: Stored):
    purge = PostgresPurge(engine, sinks=["redis_stream"])
    for number in range(3):
        stored.add_session(f"s{number}", **(FINISHED | {"finished_at": "2020-01-01T00:00:00Z"}))

    deleted = [await purge.delete_finished(older_than=timedelta(days=30), limit=2) for _ in "123"]

    assert deleted == [2, 1, 0]
