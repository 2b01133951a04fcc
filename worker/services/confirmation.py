"""Records orders placed with an authorization, and warns the shop of missing ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from worker.domain.confirmation import ConfirmEffect, check_order_id
from worker.domain.events import Event, EventType
from worker.domain.session_addresses import check_session_id
from worker.services.retrying import MESSAGE_HELD_SECONDS, retry_until

log = structlog.get_logger(__name__)

BATCH = 500


class Confirmations(Protocol):
    """Orders placed with authorizations, and missing ones. All methods raise UnavailableError."""

    async def confirm(self, session_id: str, order_id: str) -> ConfirmEffect:
        """Record the order, and stop the confirmation clock; keep it where it comes early.

        Raises:
            ConflictError: another order was confirmed before.
        """

    async def apply_early(self, *, limit: int) -> list[str]:
        """Apply confirmations that missed the moment their session was stored; returns whose."""

    async def warn_due(self, *, limit: int) -> list[Event]:
        """Write the warnings that are due; concurrent calls write each once."""

    async def stop_due_clocks(self, *, limit: int) -> int:
        """Drop the due warnings and those after them; returns of how many sessions."""


class ConfirmationService:
    """`clock_runs` is false if the shop confirms no orders: then no warning is written."""

    def __init__(
        self,
        confirmations: Confirmations,
        *,
        clock_runs: bool,
        monotonic: Callable[[], float],
    ) -> None:
        self._confirmations = confirmations
        self._clock_runs = clock_runs
        self._monotonic = monotonic
        self._stopping = False

    def stop(self) -> None:
        """Stop waiting for the database: the messages go back to their queue."""
        self._stopping = True

    async def confirm_order(self, session_id: object, order_id: object) -> ConfirmEffect:
        """Record that the session's order was placed; the shop is not warned any more.

        In every status of the session. The same order again changes nothing.

        One of a session that nobody tracks yet is kept, and applied when somebody does.

        Raises:
            InvalidArgumentError: names the field.
            ConflictError: another order was confirmed before.
            UnavailableError: the database stayed away.
        """
        checked_id, order = check_session_id(session_id), check_order_id(order_id)

        def on_retry(error: Exception) -> None:
            log.warning("confirmation_retrying", session_id=checked_id, error=str(error))

        effect = await retry_until(
            self._monotonic() + MESSAGE_HELD_SECONDS,
            partial(self._confirmations.confirm, checked_id, order),
            monotonic=self._monotonic,
            stopping=lambda: self._stopping,
            on_retry=on_retry,
        )
        log.info("order_confirmed", session_id=checked_id, effect=effect)
        return effect

    async def apply_early(self) -> int:
        """Apply confirmations that came in just while their session was stored."""
        applied = await self._confirmations.apply_early(limit=BATCH)
        for session_id in applied:
            log.info("order_confirmed", session_id=session_id, effect=ConfirmEffect.CONFIRMED)
        return len(applied)

    async def warn(self) -> int:
        """Write the due warnings of missing orders; returns how many.

        Concurrent calls write each event once. Beat's sweep wakes the relay for them.
        """
        if not self._clock_runs:
            if stopped := await self._confirmations.stop_due_clocks(limit=BATCH):
                log.info("confirmation_warnings_stopped", count=stopped)
            return 0
        events = await self._confirmations.warn_due(limit=BATCH)
        for event in events:
            if event.type is EventType.AUTHORIZATION_LAPSED:
                log.warning("authorization_lapsed", session_id=event.session_id)
            else:
                log.warning(
                    "authorization_expiring",
                    session_id=event.session_id,
                    minutes_left=event.data["minutes_left"],
                )
        return len(events)
