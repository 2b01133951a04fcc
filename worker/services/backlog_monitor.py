"""Looks at what waits now and then, beside beat's ticks, for the meter; it holds up no tick."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from worker.services.delivery_slots import BackgroundTasks
from worker.services.governor import RateGovernor
from worker.services.meter import Meter
from worker.services.ports import BacklogRead, UnavailableError

log = structlog.get_logger(__name__)

CHECK_EVERY_SECONDS = 5.0
CLOSE_SECONDS = 1.0
# One look that fails says little; after so long what the last good one saw is told no more.
FORGET_AFTER_SECONDS = 60.0


class BacklogMonitor:
    """`backlog` is None where nobody watches; `monotonic` returns seconds."""

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
        self._looked_at = float("-inf")
        self._looking = False
        self._seen_at = float("-inf")
        self._beside = BackgroundTasks()

    def look(self) -> None:
        """Begin to look, where the last look is over and a while ago."""
        backlog = self._backlog
        if backlog is None or self._looking:
            return
        if self._monotonic() - self._looked_at < CHECK_EVERY_SECONDS:
            return
        self._looking = True
        self._looked_at = self._monotonic()
        self._beside.start(self._look(backlog))

    async def close(self) -> None:
        """End a look under way."""
        await self._beside.close(patience=CLOSE_SECONDS)

    async def _look(self, backlog: BacklogRead) -> None:
        try:
            self._meter.backlog(await backlog.read())
            self._meter.accounts(self._governor.figures())
            self._seen_at = self._monotonic()
        except UnavailableError as error:
            log.warning("backlog_read_failed", error=str(error))
        except Exception:
            # A fault of ours in what is only looked at: beat goes on.
            log.exception("backlog_read_crashed")
        finally:
            self._looking = False
            if self._monotonic() - self._seen_at > FORGET_AFTER_SECONDS:
                self._meter.backlog_unknown()
