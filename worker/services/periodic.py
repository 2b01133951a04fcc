"""A job with its interval."""

from __future__ import annotations

from collections.abc import Awaitable, Callable


class Periodic:
    """Runs `job` at most once in `every` seconds; 0: at every call."""

    def __init__(self, every: float, job: Callable[[], Awaitable[object]]) -> None:
        self._every = every
        self._job = job
        self._started_at = float("-inf")

    async def run_if_due(self, now: float) -> None:
        """Run the job if `every` seconds have passed since its last start, even if that failed."""
        if now - self._started_at >= self._every:
            self._started_at = now
            await self._job()
