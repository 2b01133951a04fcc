"""Whether a worker process still works: what a probe that restarts it goes by."""

from __future__ import annotations

from worker.services.ports import Publisher, UnavailableError


class LivenessService:
    """Remembers how many tasks the process had taken when it last looked."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._taken = 0

    async def look(self, taken: int) -> bool:
        """Return whether work goes on: `taken`, all tasks taken so far, grew, or no task waits.

        A broker that is away is no fault of this process: a restart would heal nothing.
        """
        went_on, self._taken = taken > self._taken, taken
        if went_on:
            return True
        try:
            waiting = await self._publisher.waiting()
        except UnavailableError:
            return True
        return not any(waiting.values())
