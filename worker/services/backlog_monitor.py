"""Reports the backlog in the database to the meter, in the background of beat's ticks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from worker.services.delivery_slots import BackgroundTasks
from worker.services.errors import UnavailableError
from worker.services.governor import RateGovernor
from worker.services.meter import Backlog, Meter

log = structlog.get_logger(__name__)

REFRESH_SECONDS = 5.0
CLOSE_SECONDS = 1.0
# Figures older than this are removed from the meter.
KEEP_SECONDS = 60.0


class BacklogRead(Protocol):
    """The work that waits in the database. Raises UnavailableError."""

    async def read(self) -> Backlog:
        """Return the backlog as it is now."""


class BacklogMonitor:
    """`backlog` is None if there are no metrics; `monotonic` returns seconds."""

    def __init__(
        self,
        backlog: BacklogRead | None,
        governor: RateGovernor,
        *,
        meter: Meter,
        monotonic: Callable[[], float],
    ) -> None:
        self._backlog = backlog
        self._governor = governor
        self._meter = meter
        self._monotonic = monotonic
        self._refreshing = False
        self._refreshed_at = float("-inf")
        self._background = BackgroundTasks()

    async def refresh(self) -> None:
        """Start reading the backlog, unless a read is under way; does not wait for it."""
        if self._backlog is None or self._refreshing:
            return
        self._refreshing = True
        self._background.start(self._refresh(self._backlog))

    async def close(self) -> None:
        """End a read that is under way."""
        await self._background.close(timeout=CLOSE_SECONDS)

    async def _refresh(self, backlog: BacklogRead) -> None:
        try:
            self._meter.backlog(await backlog.read())
            self._meter.accounts(self._governor.figures())
            self._refreshed_at = self._monotonic()
        except UnavailableError as error:
            log.warning("backlog_read_failed", error=str(error))
        except Exception:
            # A bug here must not stop beat.
            log.exception("backlog_read_crashed")
        finally:
            self._refreshing = False
            if self._monotonic() - self._refreshed_at > KEEP_SECONDS:
                self._meter.backlog_unknown()
