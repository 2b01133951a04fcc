"""Errors that adapters raise and services handle."""

from __future__ import annotations

from datetime import timedelta

from worker.domain.deliveries import Refusal


class UnavailableError(Exception):
    """The database or the broker cannot be reached: try again later. Carries no secret."""


class DeliveryError(Exception):
    """A sink did not take an event; the text is safe to store.

    `asked` is how long the sink asked to wait.
    """

    def __init__(
        self, text: str, *, refusal: Refusal = Refusal.RETRY, asked: timedelta | None = None
    ) -> None:
        self.refusal = refusal
        self.asked = asked
        super().__init__(text)


class TokenUnreadableError(DeliveryError):
    """No key in TOKEN_ENCRYPTION_KEYS decrypts a stored authorization token."""
