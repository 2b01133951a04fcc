"""Errors as types that carry a verdict and no secret."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import ClassVar


class Verdict(StrEnum):
    """What a failed observation means for the payment session and its account."""

    RETRY = "retry"
    NOT_FOUND = "not_found"
    PAUSE_ACCOUNT = "pause_account"
    SLOW_ACCOUNT = "slow_account"


class ObservationError(Exception):
    """A read of a payment session that did not return its status.

    Its text is safe to log and to store: a label, the HTTP status and the correlation id that
    Klarna's support needs; never a body or a header.
    """

    label: ClassVar[str]
    verdict: ClassVar[Verdict] = Verdict.RETRY
    # Whether reads of other sessions of the account would probably fail, too.
    of_account: ClassVar[bool] = False

    def __init__(
        self, detail: str = "", *, status_code: int | None = None, correlation_id: str | None = None
    ) -> None:
        self.detail = detail
        self.status_code = status_code
        self.correlation_id = correlation_id
        super().__init__(detail)

    def __str__(self) -> str:
        parts = [self.label]
        if self.status_code is not None:
            parts.append(f"HTTP {self.status_code}")
        if self.detail:
            parts.append(self.detail)
        if self.correlation_id:
            parts.append(f"correlation id {self.correlation_id}")
        return ": ".join(parts)


class ProtocolError(ObservationError):
    """Klarna's answer is not a valid answer to this read."""

    label = "protocol_error"


class ServerError(ObservationError):
    """Klarna answered with a 5xx or another undocumented status."""

    label = "server_error"
    of_account = True


class DeadlineExceededError(ObservationError):
    """The answer was not complete within the HTTP timeout."""

    label = "deadline_exceeded"
    of_account = True


class ConnectionFailedError(ObservationError):
    """No connection, or a broken one: DNS, TCP, TLS, proxy."""

    label = "connection_failed"
    of_account = True


class OriginNotAllowedError(ObservationError):
    """The stored session URL is not on an allowed origin: nothing was sent."""

    label = "origin_not_allowed"


class SessionNotFoundError(ObservationError):
    """404: "expired or could not be found"; Klarna does not distinguish the two."""

    label = "not_found"
    verdict = Verdict.NOT_FOUND


class AccountRefusedError(ObservationError):
    """401 or 403: about the account's credentials or access, not the payment session."""

    label = "account_refused"
    verdict = Verdict.PAUSE_ACCOUNT


class AccountNotConfiguredError(ObservationError):
    """This process has no credentials for the account: nothing was sent."""

    label = "account_not_configured"


class RateLimitedError(ObservationError):
    """429; `retry_after` is how long Klarna asks to wait, if it says so."""

    label = "rate_limited"
    verdict = Verdict.SLOW_ACCOUNT

    def __init__(
        self, *, retry_after: timedelta | None = None, correlation_id: str | None = None
    ) -> None:
        super().__init__(status_code=429, correlation_id=correlation_id)
        self.retry_after = retry_after


class TrackError(ValueError):
    """A refused call of the shop; `field` names the wrong argument. Nothing was stored."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}")

    def __reduce__(self) -> tuple[type[TrackError], tuple[str, str]]:
        """Celery pickles the exceptions of failed tasks."""
        return type(self), (self.field, self.problem)


class InvalidArgumentError(TrackError):
    """An argument is missing, malformed or unknown."""


class UnknownAccountError(InvalidArgumentError):
    """The account is not configured in this process; another release's may know it."""

    def __init__(self, field: str = "account", problem: str = "is not configured") -> None:
        super().__init__(field, problem)


class ConflictError(TrackError):
    """An argument contradicts what the session was tracked or confirmed with."""
