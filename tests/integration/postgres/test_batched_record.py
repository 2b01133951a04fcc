"""Many polls are recorded in one statement; each has its own result."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import anyio
import psycopg
import pytest
import sqlalchemy.exc
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.builders import LIMITS
from tests.support.leases import claim_and_load, decision_on, track
from tests.support.stored import Stored
from worker.adapters.postgres.engine import LOCK_TIMEOUT_MS
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.domain.decision import Decision
from worker.domain.errors import ServerError
from worker.domain.transitions import give_up
from worker.services.sessions import LeasedSession, Recorded

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("count", [1, 20, 510], ids=["alone", "a group", "more than a group holds"])
async def test_quiet_records_at_once_are_all_written(
    sessions: PostgresSessions, stored: Stored, count: int
):
    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url)"
        " SELECT 's' || n, 'default', 'hpp', 'u' FROM generate_series(1, %s) AS n",
        count,
    )
    loaded = await claim_and_load(sessions)
    recorded: list[Recorded | None] = []

    async def record(leased: LeasedSession) -> None:
        recorded.append(await sessions.record(leased, decision_on(leased, ServerError())))

    async with anyio.create_task_group() as group:
        for leased in loaded.values():
            group.start_soon(record, leased)

    assert recorded == [Recorded(nudged=False)] * count
    assert (
        stored.value(
            "SELECT count(*) FROM payment_sessions"
            " WHERE poll_count = 1 AND consecutive_failures = 1 AND lease_id IS NULL"
        )
        == count
    )


async def test_each_of_a_batch_gets_what_became_of_its_own_row(
    sessions: PostgresSessions, stored: Stored
):
    for session_id in ("kept", "lost", "nudged"):
        stored.add_session(session_id)
    loaded = await claim_and_load(sessions)
    await track(sessions, "nudged")
    stored.rows("UPDATE payment_sessions SET lease_id = %s WHERE session_id = 'lost'", uuid4())
    recorded: dict[str, Recorded | None] = {}

    async def record(leased: LeasedSession) -> None:
        recorded[leased.session.session_id] = await sessions.record(
            leased, decision_on(leased, ServerError())
        )

    async with anyio.create_task_group() as group:
        for leased in loaded.values():
            group.start_soon(record, leased)

    assert recorded == {
        "kept": Recorded(nudged=False),
        "lost": None,
        "nudged": Recorded(nudged=True),
    }


async def test_a_row_that_the_table_refuses_harms_no_other_of_its_group(
    sessions: PostgresSessions, stored: Stored
):
    for number in range(5):
        stored.add_session(f"s{number}")
    loaded = await claim_and_load(sessions)
    refused: list[str] = []

    async def record(leased: LeasedSession) -> None:
        decision = decision_on(leased, ServerError())
        if leased.session.session_id == "s2":
            decision = replace(decision, session=replace(decision.session, next_poll_at=None))
        try:
            await sessions.record(leased, decision)
        except sqlalchemy.exc.IntegrityError:
            refused.append(leased.session.session_id)

    async with anyio.create_task_group() as group:
        for leased in loaded.values():
            group.start_soon(record, leased)

    assert refused == ["s2"]
    polled = stored.rows("SELECT session_id FROM payment_sessions WHERE poll_count = 1")
    assert sorted(row["session_id"] for row in polled) == ["s0", "s1", "s3", "s4"]


async def test_a_poll_that_is_cancelled_while_its_group_gathers_harms_no_other(
    sessions: PostgresSessions, stored: Stored
):
    for number in range(3):
        stored.add_session(f"s{number}")
    first, *others = (await claim_and_load(sessions)).values()
    recorded: list[Recorded | None] = []

    async def record(leased: LeasedSession) -> None:
        recorded.append(await sessions.record(leased, decision_on(leased, ServerError())))

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as leader:
            async with anyio.create_task_group() as leading:
                leading.start_soon(record, first)
                await anyio.lowlevel.checkpoint()
                for leased in others:
                    group.start_soon(record, leased)
                await anyio.lowlevel.checkpoint()
                leader.cancel()

    assert recorded == [Recorded(nudged=False)] * 2
    assert stored.session(first.session.session_id)["poll_count"] == 0


async def test_changes_at_once_are_all_recorded_by_few_statements(
    sessions: PostgresSessions, stored: Stored, engine: AsyncEngine
):
    # Read a moment ago, so that the account's row is not written and all records come at once.
    stored.add_account(last_read_at="now")
    for number in range(20):
        stored.add_session(f"s{number}")
    recorded: list[Recorded | None] = []
    statements: list[str] = []
    event.listen(
        engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: statements.append(statement),
    )

    loaded = await claim_and_load(sessions)
    decisions = {name: decision_on(leased, "CANCELLED") for name, leased in loaded.items()}

    async def record(name: str) -> None:
        recorded.append(await sessions.record(loaded[name], decisions[name]))

    async with anyio.create_task_group() as group:
        for name in loaded:
            group.start_soon(record, name)

    assert recorded == [Recorded(nudged=False)] * 20
    assert len([each for each in statements if "status_transitions" in each]) < len(loaded)
    names = sorted(loaded)
    for table in ("status_transitions", "outbox_messages"):
        recorded = stored.rows(f"SELECT session_id FROM {table}")  # noqa: S608 - of this test
        assert sorted({row["session_id"] for row in recorded}) == names


async def test_of_two_decisions_on_one_session_at_once_only_the_holders_is_recorded(
    sessions: PostgresSessions, stored: Stored
):
    """One has a transition and the other an end, which no constraint of the tables could detect."""
    stored.add_account(last_read_at="now")
    stored.add_session("s1", expires_at="now")
    held = (await claim_and_load(sessions))["s1"]
    lost = replace(held, lease_id=uuid4())
    end = give_up(held.session, now=held.loaded_at + timedelta(days=2), limits=LIMITS)
    assert end is not None
    assert end.transition is None
    recorded: dict[str, Recorded | None] = {}

    async def record(name: str, leased: LeasedSession, decision: Decision) -> None:
        recorded[name] = await sessions.record(leased, decision)

    change = decision_on(lost, "IN_PROGRESS")
    async with anyio.create_task_group() as group:
        group.start_soon(record, "lost", lost, change)
        group.start_soon(record, "held", held, end)

    assert recorded == {"lost": None, "held": Recorded(nudged=False)}
    assert stored.statuses("s1") == []
    assert stored.session("s1")["outcome"] == "expired"


async def test_a_change_of_a_session_that_somebody_holds_keeps_no_other_waiting(
    sessions: PostgresSessions, stored: Stored, shop: psycopg.Connection
):
    stored.add_account(last_read_at="now")
    for name in ("held", "free"):
        stored.add_session(name)
    loaded = await claim_and_load(sessions)
    shop.execute("SELECT FROM payment_sessions WHERE session_id = 'held' FOR UPDATE")
    decisions = {name: decision_on(leased, "CANCELLED") for name, leased in loaded.items()}
    done = {name: anyio.Event() for name in loaded}

    async def record(name: str) -> None:
        await sessions.record(loaded[name], decisions[name])
        done[name].set()

    async with anyio.create_task_group() as group:
        for name in loaded:
            group.start_soon(record, name)
        with anyio.fail_after(LOCK_TIMEOUT_MS / 1000):
            await done["free"].wait()
        assert not done["held"].is_set()
        shop.rollback()
        await done["held"].wait()
