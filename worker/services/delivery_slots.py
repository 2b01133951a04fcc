"""Deliveries that may be slow, beside the tasks that found them: so many at once to each sink."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import islice

import anyio

# Beyond these, sessions wait for beat's sweep.
MOST_REMEMBERED = 1000


class DeliverySlots:
    """The room for deliveries of this process to one sink, and who found none.

    A place taken must be given back.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._without_place: set[str] = set()

    def take(self, wanted: int) -> int:
        """Take as many places as are wanted and free; returns how many."""
        taken = min(wanted, self._free)
        self._free -= taken
        return taken

    def give_back(self, places: int = 1) -> None:
        """Give places back."""
        self._free += places

    def remember(self, session_ids: set[str]) -> None:
        """Keep sessions that found no place in mind, until it is asked for them."""
        room = MOST_REMEMBERED - len(self._without_place)
        self._without_place |= set(islice(session_ids, room))

    def remembered(self) -> set[str]:
        """Return them, and forget them."""
        session_ids, self._without_place = self._without_place, set()
        return session_ids


class BackgroundTasks:
    """Work in this event loop that nobody waits for until `close`; it must not raise."""

    def __init__(self) -> None:
        # Referenced here: the loop alone would let a task be collected while it runs.
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Let `work` go on by itself."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, *, patience: float) -> None:
        """Wait `patience` seconds for what is under way, then cut it short."""
        with anyio.move_on_after(patience):
            while self._tasks:
                await asyncio.wait(self._tasks)
        cut_short = list(self._tasks)
        for task in cut_short:
            task.cancel()
        await asyncio.gather(*cut_short, return_exceptions=True)
