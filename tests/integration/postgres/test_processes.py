"""Heartbeats and the state of the queues, as `health` reads them."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.stored import Stored
from tests.support.wired import eventually_beside
from worker.adapters.postgres.processes import PostgresProcesses
from worker.services.heartbeat import HeartbeatService, Process, QueueLook

pytestmark = pytest.mark.anyio

PROCESS = Process(
    process_id=uuid4(),
    role="worker",
    host="h1",
    pid=7,
    version="0.1.0",
    queues=("payment-sessions",),
    accounts=("default",),
)


@pytest.fixture
def processes(engine: AsyncEngine) -> PostgresProcesses:
    return PostgresProcesses(engine)


async def test_a_process_is_one_row_that_says_when_it_was_seen_and_when_it_worked(
    processes: PostgresProcesses, stored: Stored
):
    await processes.beat(PROCESS, progressed=True, stopped=False)
    stored.rows("UPDATE processes SET seen_at = seen_at - interval '1 min', progress_at = seen_at")
    before = stored.rows("SELECT * FROM processes")[0]

    await processes.beat(PROCESS, progressed=False, stopped=False)
    idle = stored.rows("SELECT * FROM processes")[0]
    await processes.beat(PROCESS, progressed=True, stopped=False)
    working = stored.rows("SELECT * FROM processes")[0]
    await processes.beat(PROCESS, progressed=False, stopped=True)
    stopped = stored.rows("SELECT * FROM processes")[0]

    assert idle["seen_at"] > before["seen_at"]
    assert idle["progress_at"] == before["progress_at"] < working["progress_at"]
    assert (working["stopped_at"], stopped["stopped_at"] is None) == (None, False)
    assert (stopped["queues"], stopped["accounts"]) == (["payment-sessions"], ["default"])


async def test_a_process_that_was_not_seen_for_a_day_leaves(
    processes: PostgresProcesses, stored: Stored
):
    await processes.beat(PROCESS, progressed=True, stopped=False)
    stored.rows("UPDATE processes SET seen_at = now() - interval '25 h'")
    other = replace(PROCESS, process_id=uuid4())

    await processes.beat(other, progressed=True, stopped=False)

    assert stored.value("SELECT process_id FROM processes") == other.process_id


async def test_heartbeats_begin_at_once_and_end_with_a_goodbye(
    processes: PostgresProcesses, stored: Stored
):
    heartbeat = HeartbeatService(processes, PROCESS)

    heartbeat.start()
    await eventually_beside(lambda: stored.rows("SELECT * FROM processes"))
    await heartbeat.close()

    assert stored.value("SELECT stopped_at FROM processes") is not None


async def test_a_database_without_the_table_ends_no_heartbeat(
    processes: PostgresProcesses, stored: Stored
):
    stored.rows("ALTER TABLE processes RENAME TO gone")
    heartbeat = HeartbeatService(processes, PROCESS)

    heartbeat.start()
    await heartbeat.close()

    assert stored.value("SELECT count(*) FROM gone") == 0


async def test_a_queue_stands_still_while_its_next_message_is_the_same(
    processes: PostgresProcesses, stored: Stored
):
    async def looks(waiting: int, next_message_hash: bytes | None = None) -> dict[str, object]:
        look = QueueLook(queue="q", waiting=waiting, next_message_hash=next_message_hash)
        await processes.note_queues([look])
        return stored.rows("SELECT * FROM queues")[0]

    empty = await looks(0)
    first = await looks(1, b"a")
    longer = await looks(2, b"a")
    moved = await looks(2, b"b")
    drained = await looks(0)

    assert (empty["waiting_since"], empty["unchanged_since"]) == (None, None)
    assert longer["waiting_since"] == longer["unchanged_since"] == first["waiting_since"]
    assert moved["waiting_since"] == first["waiting_since"] < moved["unchanged_since"]
    assert (drained["waiting_since"], drained["unchanged_since"]) == (None, None)


async def test_where_the_broker_shows_no_message_a_count_that_does_not_fall_stands_still(
    processes: PostgresProcesses, stored: Stored
):
    async def looks(waiting: int) -> object:
        await processes.note_queues([QueueLook(queue="q", waiting=waiting)])
        return stored.value("SELECT unchanged_since FROM queues")

    first = await looks(2)

    assert await looks(3) == first
    assert await looks(2) != first
