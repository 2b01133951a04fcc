"""The order of claims when not all due sessions can be claimed: the most valuable reads first."""

from __future__ import annotations

import pytest

from tests.support.leases import claimed, claims
from tests.support.stored import Stored
from worker.adapters.postgres.sessions.repository import PostgresSessions

pytestmark = pytest.mark.anyio


def add_read(
    stored: Stored, session_id: str, *, read_ago: float, due_ago: float = 1, **columns: object
) -> str:
    """A session last read so many seconds ago."""
    stored.add_session(session_id, due_in=-due_ago, **columns)
    for column in ("tracked_at", "last_read_at", "last_polled_at"):
        set_ahead(stored, session_id, column, -read_ago)
    return session_id


def set_ahead(stored: Stored, session_id: str, column: str, seconds: float) -> None:
    stored.rows(
        f"UPDATE payment_sessions SET {column} = clock_timestamp() + %s * interval '1 s'"  # noqa: S608
        " WHERE session_id = %s",
        seconds,
        session_id,
    )


async def in_order(sessions: PostgresSessions, count: int, **options: object) -> list[str]:
    """Return them in the order in which they are claimed one by one."""
    return [
        session_id
        for _ in range(count)
        for session_id in await claimed(sessions, tasks=1, available=1, **options)
    ]


async def test_who_waited_most_times_its_ideal_interval_is_first(
    sessions: PostgresSessions, stored: Stored
):
    """Not the longest due; a session that was never read comes first."""
    add_read(stored, "twice", read_ago=20, ideal_interval_seconds=10)
    add_read(stored, "long-due", read_ago=900, due_ago=300, ideal_interval_seconds=600)
    add_read(stored, "thrice", read_ago=6, ideal_interval_seconds=2)
    stored.add_session("never", due_in=0)

    assert await in_order(sessions, 4) == ["never", "thrice", "twice", "long-due"]


async def test_without_an_ideal_interval_the_planned_one_counts(
    sessions: PostgresSessions, stored: Stored
):
    """Rows of the previous release have no ideal interval: the planned one is used."""
    add_read(stored, "ten-times", read_ago=100, due_ago=90)
    add_read(stored, "twice", read_ago=20, due_ago=10)

    assert await in_order(sessions, 2) == ["ten-times", "twice"]


async def test_a_nudge_is_worth_as_much_as_a_session_never_read(
    sessions: PostgresSessions, stored: Stored
):
    add_read(stored, "waits", read_ago=60, ideal_interval_seconds=2)
    add_read(stored, "nudged", read_ago=1, due_ago=0, ideal_interval_seconds=600)
    set_ahead(stored, "nudged", "nudged_at", 0)

    assert await in_order(sessions, 2) == ["nudged", "waits"]


async def test_a_session_that_is_nearly_over_counts_double(
    sessions: PostgresSessions, stored: Stored
):
    add_read(stored, "plain", read_ago=30, ideal_interval_seconds=20)
    add_read(stored, "ends", read_ago=10, ideal_interval_seconds=10)
    set_ahead(stored, "ends", "expires_at", 60)

    assert await in_order(sessions, 2) == ["ends", "plain"]


async def test_after_an_outage_who_loses_most_by_waiting_is_first_of_all(
    sessions: PostgresSessions, stored: Stored
):
    add_read(stored, "fresh", read_ago=600, ideal_interval_seconds=2)
    add_read(stored, "token-50", read_ago=50 * 60, ideal_interval_seconds=4000)
    add_read(stored, "token-58", read_ago=58 * 60, ideal_interval_seconds=4000)
    add_read(stored, "ends", read_ago=600, ideal_interval_seconds=4000)
    set_ahead(stored, "ends", "expires_at", 300)

    order = await in_order(sessions, 4, urgent_first=True)

    assert order == ["token-58", "ends", "token-50", "fresh"]


async def test_little_value_comes_at_last(sessions: PostgresSessions, stored: Stored):
    """Its lateness ratio grows: ten times its interval comes before twice another's."""
    add_read(stored, "low", read_ago=40_000, due_ago=37_600, ideal_interval_seconds=4000)
    add_read(stored, "high", read_ago=4, ideal_interval_seconds=2)

    assert await in_order(sessions, 2) == ["low", "high"]


async def test_a_claim_has_a_limit_and_returns_the_lowest_lateness_ratio(
    sessions: PostgresSessions, stored: Stored
):
    for number in range(5):
        add_read(stored, f"s{number}", read_ago=10 * (number + 1), ideal_interval_seconds=10)

    (task,) = await sessions.claim("default", tasks=1, limits=claims(), available=3)

    assert set(task.session_ids) == {"s4", "s3", "s2"}
    assert task.lateness_ratio == pytest.approx(3, abs=0.1)
    assert await sessions.claim("default", tasks=1, limits=claims(), available=0) == []


async def test_under_a_huge_backlog_what_is_worth_most_is_found_at_both_its_ends(
    sessions: PostgresSessions, stored: Stored
):
    """Thousands at the longest interval wait; a young session that has just become due does not."""
    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url, next_poll_at,"
        " tracked_at, last_read_at, ideal_interval_seconds)"
        " SELECT 'old-' || n, 'default', 'hpp', 'https://klarna.test/hpp/v1/sessions/old-' || n,"
        " now() - n * interval '1 s', now() - interval '1 day',"
        " now() - interval '61 min' - n * interval '1 s', 4800 FROM generate_series(1, 6000) AS n"
    )
    add_read(stored, "young", read_ago=12, ideal_interval_seconds=3)

    assert await in_order(sessions, 2) == ["young", "old-6000"]


async def test_few_due_sessions_are_found_by_the_index(stored: Stored, sessions: PostgresSessions):
    """However many sessions are not due."""
    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url, next_poll_at)"
        " SELECT 's' || n, 'default', 'hpp', 'https://klarna.test/hpp/v1/sessions/s' || n,"
        " now() + n * interval '10 min' FROM generate_series(-5, 50000) AS n"
    )
    stored.rows("ANALYZE payment_sessions")
    before = sequential_reads(stored)

    assert len(await claimed(sessions)) == 6
    assert sequential_reads(stored) == before


def sequential_reads(stored: Stored) -> int:
    stored.rows("SELECT pg_stat_force_next_flush()")
    return stored.value(
        "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'payment_sessions'"
    )
