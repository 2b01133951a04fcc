"""The same on an event loop: taskiq, an async client and async SQLAlchemy, with their defaults.

A task schedules its successor, which taskiq's scheduler sends when due.
Run as a program it starts to add_entry every session there is.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import cache

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from taskiq import TaskiqScheduler
from taskiq_redis import ListRedisScheduleSource, RedisStreamBroker

from benchmarks.baselines.reading import (
    CREDENTIALS,
    ENGINE_URL,
    FINAL,
    INTERVAL_SECONDS,
    RECORD,
    REDIS_URL,
    TIMEOUT_SECONDS,
    recorded,
    session_url,
    tracked_ids,
)
from worker.adapters import clock

broker = RedisStreamBroker(REDIS_URL, queue_name="taskiq-baseline", consumer_id="0")
source = ListRedisScheduleSource(REDIS_URL)
scheduler = TaskiqScheduler(broker, [source])


@broker.task(task_name="asyncio.poll")
async def poll(session_id: str) -> None:
    """Read the session, write what it says, and schedule the next poll unless it has ended."""
    answer = (await _client().get(session_url(session_id))).raise_for_status().json()
    async with _engine().begin() as connection:
        await connection.execute(RECORD, recorded(session_id, answer))
    if answer["status"] not in FINAL:
        again_at = clock.now() + timedelta(seconds=INTERVAL_SECONDS)
        await poll.schedule_by_time(source, again_at, session_id)


@cache
def _client() -> httpx.AsyncClient:
    """One for each process."""
    return httpx.AsyncClient(auth=CREDENTIALS, timeout=TIMEOUT_SECONDS)


@cache
def _engine() -> AsyncEngine:
    """One for each process, with a connection for each of its tasks."""
    return create_async_engine(ENGINE_URL, pool_size=32)


async def _start_all() -> None:
    await broker.startup()
    for session_id in tracked_ids():
        await poll.kiq(session_id)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(_start_all())
