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
        try:
            await self._confirmation.apply_early()
            if self._queues.is_full("events"):
                return
            if due := await self._refused.due(limit=BATCH):
                await self._publisher.send_refused(due)
        except UnavailableError as error:
            log.warning("intake_sweep_failed", error=str(error))
