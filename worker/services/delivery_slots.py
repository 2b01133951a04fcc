"""Limits concurrent background deliveries per sink."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import islice

import anyio

# Sessions beyond these wait for beat's sweep.
LARGEST_QUEUE = 1000


class DeliverySlots:
    """One process' slots for deliveries to one sink, and the sessions queued for them.

    Every acquired slot must be released.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._queued: set[str] = set()

    def acquire(self, wanted: int) -> int:
        """Acquire up to `wanted` slots; returns how many were free."""
        acquired = min(wanted, self._free)
        self._free -= acquired
        return acquired

    def release(self, slots: int = 1) -> None:
        """Release acquired slots."""
        self._free += slots

    def enqueue(self, session_ids: set[str]) -> None:
        """Queue sessions that found no slot, up to LARGEST_QUEUE."""
        self._queued |= set(islice(session_ids, LARGEST_QUEUE - len(self._queued)))

    def dequeue_all(self) -> set[str]:
        """Return the queued sessions, and empty the queue."""
        session_ids, self._queued = self._queued, set()
        return session_ids


class BackgroundTasks:
    """Coroutines that run in this event loop until `close`; they must not raise."""

    def __init__(self) -> None:
        # The event loop keeps weak references only: without this one a running task may be
        # garbage-collected.
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run `work` in the background."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, *, timeout: float) -> None:  # noqa: ASYNC109 - what is left is cancelled
        """Wait up to `timeout` seconds for the running tasks, then cancel them."""
        with anyio.move_on_after(timeout):
            while self._tasks:
                await asyncio.wait(self._tasks)
        cancelled = list(self._tasks)
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
