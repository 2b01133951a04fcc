"""Applies what came early and retries what was refused, beside beat's other jobs."""

from __future__ import annotations

from typing import Protocol

import structlog

from worker.services.confirmation import ConfirmationService
from worker.services.errors import UnavailableError
from worker.services.publisher import Publisher
from worker.services.queues import Queues

log = structlog.get_logger(__name__)

BATCH = 100


class RefusedSweep(Protocol):
    """Refused messages to be retried. Raises UnavailableError."""

    async def due(self, *, limit: int) -> list[int]:
        """Return the messages whose next try is due."""


class IntakeSweep:
    """Fails no tick: a table or a right that is missing must stop no poll."""

    def __init__(
        self,
        refused: RefusedSweep,
        confirmation: ConfirmationService,
        publisher: Publisher,
        queues: Queues,
    ) -> None:
        self._refused = refused
        self._confirmation = confirmation
        self._publisher = publisher
        self._queues = queues

    async def sweep(self) -> None:
        """Apply early confirmations, and send the refused messages that are due."""
        # Each by itself: a row that one of them cannot take keeps the other from nothing.
        for job in (self._confirmation.apply_early, self._retry_due):
            try:
                await job()
            except UnavailableError as error:
                log.warning("intake_sweep_failed", error=str(error))
            except Exception:
                log.exception("intake_sweep_crashed")

    async def _retry_due(self) -> None:
        if self._queues.is_full("events"):
            return
        if due := await self._refused.due(limit=BATCH):
            await self._publisher.send_refused(due)
