"""The length of the worker's own queues, and when they are full."""

from __future__ import annotations

from worker.services.meter import Meter
from worker.services.publisher import Publisher

# A queue with this many ticks' worth of tasks is not being worked off: more would only fill it.
TICKS_WAITING = 4


class Queues:
    """The lengths at the last refresh."""

    def __init__(self, publisher: Publisher, *, tasks_per_tick: int, meter: Meter) -> None:
        self._publisher = publisher
        self._full_at = tasks_per_tick * TICKS_WAITING
        self._meter = meter
        self._waiting: dict[str, int] = {}

    async def refresh(self) -> None:
        """Read the lengths.

        Raises:
            UnavailableError: the broker is away.
        """
        self._waiting = await self._publisher.waiting()
        self._meter.queues(self._waiting)

    def is_full(self, queue: str) -> bool:
        """Return whether nothing should be added to `polls` or `events`."""
        return self._waiting[queue] >= self._full_at
