"""Claims and leases in Postgres: which sessions, how many, and for how long."""

from __future__ import annotations

from collections import Counter
from uuid import uuid4

import anyio
import psycopg
import pytest

from tests.support.leases import CLAIMS, claimed, claims
from tests.support.stored import Stored
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.services.sessions import ClaimLimits, PollTask

pytestmark = pytest.mark.anyio


def add_many(stored: Stored, count: int, **columns: object) -> list[str]:
    return [stored.add_session(f"s{n:03}", due_in=-600 + n, **columns) for n in range(count)]


# --- claim


async def test_only_what_is_due_open_and_unleased_is_claimed(
    sessions: PostgresSessions, stored: Stored
):
    lease = {"lease_id": uuid4(), "lease_expires_at": "infinity"}
    stored.add_session("due", due_in=-1)
    stored.add_session("later", due_in=60)
    stored.add_session("leased", due_in=-1, **lease)
    stored.add_session("over", outcome="expired", finished_at="now", next_poll_at=None)

    assert await claimed(sessions) == ["due"]
    assert await claimed(sessions) == []


async def test_the_oldest_are_claimed_first(sessions: PostgresSessions, stored: Stored):
    stored.add_session("younger", due_in=-1)
    stored.add_session("oldest", due_in=-30)
    stored.add_session("older", due_in=-20)
    two = claims(sessions_per_task=2)

    assert set(await claimed(sessions, tasks=1, limits=two)) == {"oldest", "older"}
    assert await claimed(sessions, tasks=1, limits=two) == ["younger"]


async def test_a_lease_that_ran_out_is_due_again_under_a_new_id(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("s1")
    (first,) = await sessions.claim("default", tasks=1, limits=CLAIMS)
    stored.run_out("s1")

    (second,) = await sessions.claim("default", tasks=1, limits=CLAIMS)

    assert second.session_ids == ("s1",)
    assert first.lease_id != second.lease_id == stored.session("s1")["lease_id"]


@pytest.mark.parametrize(
    ("due", "tasks", "limits", "sizes"),
    [
        (4, 16, CLAIMS, [1, 1, 1, 1]),
        (20, 16, CLAIMS, [5, 5, 5, 5]),
        (100, 16, CLAIMS, [20, 20, 20, 20, 20]),
        (100, 4, CLAIMS, [25, 25, 25, 25]),
        (100, 1, CLAIMS, [50]),
        (100, 4, claims(sessions_in_flight=10), [3, 3, 2, 2]),
        (100, 4, claims(tasks_in_flight=4), [50, 50]),
        (100, 4, claims(sessions_per_task=5), [5, 5, 5, 5]),
    ],
    ids=[
        "one each at ordinary load",
        "four tasks",
        "four times as many sessions to each as there are tasks",
        "shared evenly",
        "a full task",
        "sessions in flight",
        "half of the tasks in flight",
        "sessions a task",
    ],
)
async def test_a_claim_is_shared_among_its_tasks_within_the_limits(
    sessions: PostgresSessions,
    stored: Stored,
    due: int,
    tasks: int,
    limits: ClaimLimits,
    sizes: list[int],
):
    add_many(stored, due)

    found = await sessions.claim("default", tasks=tasks, limits=limits)

    assert sorted((len(t.session_ids) for t in found), reverse=True) == sizes
    assert len({t.lease_id for t in found}) == len(sizes)


@pytest.mark.parametrize(
    ("limits", "first", "second"),
    [(claims(sessions_in_flight=5), 5, 0), (claims(tasks_in_flight=3), 2, 1), (CLAIMS, 5, 5)],
    ids=["sessions", "half of the tasks that are left", "wide"],
)
async def test_what_is_under_way_counts_against_the_limits_until_it_ends(
    sessions: PostgresSessions, stored: Stored, limits: ClaimLimits, first: int, second: int
):
    add_many(stored, 10)
    one_each = {"tasks": 5, "limits": claims_of_one(limits)}

    assert len(await claimed(sessions, **one_each)) == first
    assert len(await claimed(sessions, **one_each)) == second

    stored.run_out()
    assert len(await claimed(sessions, **one_each)) == first


def claims_of_one(limits: ClaimLimits) -> ClaimLimits:
    return claims(
        sessions_in_flight=limits.sessions_in_flight,
        tasks_in_flight=limits.tasks_in_flight,
        sessions_per_task=1,
    )


async def test_accounts_are_claimed_apart_and_limited_apart(
    sessions: PostgresSessions, stored: Stored
):
    for number in range(3):
        stored.add_session(f"a{number}", account="a")
        stored.add_session(f"b{number}", account="b")
    limits = claims(sessions_in_flight=2)

    assert len(await claimed(sessions, account="a", limits=limits)) == 2
    assert await claimed(sessions, account="a", limits=limits) == []
    found = await claimed(sessions, account="b", limits=limits)
    assert [session_id[0] for session_id in found] == ["b", "b"]


async def test_a_paused_account_is_skipped_and_then_sends_one_probe(
    sessions: PostgresSessions, stored: Stored
):
    add_many(stored, 3)
    stored.add_account(paused_for=60, refusals=2)
    stored.add_session("other", account="other")

    assert await claimed(sessions) == []
    assert await claimed(sessions, account="other") == ["other"]

    stored.rows("UPDATE accounts SET paused_until = clock_timestamp() - interval '1 s'")
    assert await claimed(sessions) == ["s000"]
    assert await claimed(sessions) == []


async def test_an_account_that_was_only_throttled_goes_on_in_full(
    sessions: PostgresSessions, stored: Stored
):
    add_many(stored, 3)
    stored.add_account(throttles=2)

    assert len(await claimed(sessions)) == 3


async def test_claimers_at_once_never_share_a_session(sessions: PostgresSessions, stored: Stored):
    everyone = add_many(stored, 200)
    found: list[PollTask] = []

    async def claim_until_nothing_is_left() -> None:
        limits = claims(tasks_in_flight=100, sessions_per_task=5)
        while tasks := await sessions.claim("default", tasks=2, limits=limits):
            found.extend(tasks)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(claim_until_nothing_is_left)

    assert Counter(session_id for task in found for session_id in task.session_ids) == Counter(
        everyone
    )


async def test_a_locked_row_is_passed_over_not_waited_for(
    sessions: PostgresSessions, stored: Stored, database_url: str
):
    add_many(stored, 2)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM payment_sessions WHERE session_id = 's000' FOR UPDATE")

        assert await claimed(sessions) == ["s001"]


# --- release and the next due


async def test_a_released_session_is_due_at_once(sessions: PostgresSessions, stored: Stored):
    stored.add_session("mine", due_in=-2)
    stored.add_session("anothers", due_in=-1)
    (mine,) = await sessions.claim("default", tasks=1, limits=claims(sessions_per_task=1))
    (another,) = await sessions.claim("default", tasks=1, limits=claims(sessions_per_task=1))

    await sessions.release(["mine", "anothers"], [mine.lease_id])

    assert stored.session("mine")["lease_id"] is None
    assert stored.session("anothers")["lease_id"] == another.lease_id
    assert await claimed(sessions) == ["mine"]


async def test_the_next_due_is_the_earliest_of_the_accounts_asked_for(
    sessions: PostgresSessions, stored: Stored
):
    assert await sessions.next_due_in(["default", "other"]) is None

    stored.add_session("s1", due_in=60)
    stored.add_session("s2", due_in=20, account="other")
    stored.add_session("s3", due_in=5, account="unconfigured")
    stored.add_session("s4", due_in=-5, lease_id=uuid4(), lease_expires_at="infinity")
    wait = await sessions.next_due_in(["default", "other"])

    assert wait is not None
    assert 15 < wait.total_seconds() <= 20


async def test_what_is_due_already_is_waited_for_no_longer_and_a_pause_to_its_end(
    sessions: PostgresSessions, stored: Stored
):
    stored.add_session("paused", due_in=-5)
    stored.add_account(paused_for=30)
    wait = await sessions.next_due_in(["default"])
    assert wait is not None
    assert 25 < wait.total_seconds() <= 30

    stored.add_session("due", due_in=-5, account="other")
    wait = await sessions.next_due_in(["default", "other"])
    assert wait is not None
    assert wait.total_seconds() <= 0
