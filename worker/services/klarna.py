"""The port to Klarna: one read of a payment session."""

from __future__ import annotations

from typing import Protocol

from worker.domain.session import Observation, PaymentSession


class Klarna(Protocol):
    """Klarna's read of one payment session."""

    async def read(self, session: PaymentSession) -> Observation:
        """Return what Klarna says now.

        Raises:
            ObservationError: the read failed.
        """
