"""Orders placed with an authorization: notes them, and tells the shop of those still missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from worker.domain.confirmation import ConfirmEffect, check_order_id
from worker.domain.events import EventType
from worker.domain.tracking import check_session_id
from worker.services.ports import Confirmations
from worker.services.retrying import Patience

log = structlog.get_logger(__name__)

BATCH = 500


class ConfirmationService:
    """`clock_runs` is false where the shop confirms nothing: then no clock strikes, old or new."""

    def __init__(
        self,
        confirmations: Confirmations,
        *,
        clock_runs: bool,
        monotonic: Callable[[], float],
    ) -> None:
        self._confirmations = confirmations
        self._clock_runs = clock_runs
        self._patience = Patience(monotonic)

    def stop(self) -> None:
        """Wait for an absent database no longer: the messages go back to their queue."""
        self._patience.stop()

    async def confirm_order(self, session_id: object, order_id: object) -> ConfirmEffect:
        """Note that the session's order was placed; the shop is warned no more.

        Whatever the session's status, for whoever placed the order knows better. The same order
        again changes nothing.

        Raises:
            InvalidArgumentError: naming the field; also where nobody follows the session.
            ConflictError: another order was confirmed before.
            UnavailableError: the database stayed away.
        """
        checked_id, order = check_session_id(session_id), check_order_id(order_id)
        effect = await self._patience.until_done(
            partial(self._confirmations.confirm, checked_id, order),
            waits="confirmation_retrying",
            session_id=checked_id,
        )
        log.info("order_confirmed", session_id=checked_id, effect=effect)
        return effect

    async def warn(self) -> int:
        """Write what shops are to be told now of missing orders; returns how many events.

        Several at once write each event once. Beat's sweep wakes the relay for them.
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
