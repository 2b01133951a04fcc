"""Whether a worker process still makes progress; the liveness probe restarts one that does not."""

from __future__ import annotations

from worker.services.errors import UnavailableError
from worker.services.publisher import Publisher


class LivenessService:
    """Compares the number of received tasks with the one of the last refresh."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._received = 0

    async def refresh(self, received: int) -> bool:
        """Return whether the process makes progress: `received` grew, or no task waits.

        `received` is the number of tasks received since the start. A broker that is away counts as
        progress: a restart would not help.
        """
        grew, self._received = received > self._received, received
        if grew:
            return True
        try:
            waiting = await self._publisher.waiting()
        except UnavailableError:
            return True
        return not any(waiting.values())
