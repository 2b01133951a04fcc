"""Holds a shop's message while the database is away: the message is the only copy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import structlog

from worker.services.ports import UnavailableError

log = structlog.get_logger(__name__)

# With the longest single try, in company and then alone, it stays below the broker's visibility
# timeout (60 s), so nobody else is given the message meanwhile.
PATIENCE_SECONDS = 25.0
RETRY_SECONDS = 0.5

Result = TypeVar("Result")


class Patience:
    """`monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._stopping = False

    def stop(self) -> None:
        """Wait for an absent database no longer: the messages go back to their queue."""
        self._stopping = True

    async def until_done(
        self, work: Callable[[], Awaitable[Result]], *, waits: str, session_id: str
    ) -> Result:
        """Return what `work` answers, tried again while it is unavailable; `waits` is logged then.

        Raises:
            UnavailableError: the database stayed away for PATIENCE_SECONDS.
        """
        patient_until = self._monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await work()
            except UnavailableError as error:
                log.warning(waits, session_id=session_id, error=str(error))
                if self._stopping or self._monotonic() > patient_until:
                    raise
            await anyio.sleep(RETRY_SECONDS)
