"""The payment session as the worker knows it, and one reading of it at Klarna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

# The KP statuses, and the one word of ours among Klarna's: a KP session that is `incomplete`
# with a token. Klarna Payments API reference: read a session.
KP_COMPLETE = "complete"
KP_INCOMPLETE = "incomplete"
KP_AUTHORIZED = "authorized"

# Sink name -> names and ids of the sink's own; no secret is in it.
ShopObjects = Mapping[str, Mapping[str, str]]

# An authorization token is good for 60 minutes: docs.klarna.com, place order.
AUTHORIZATION_LIFETIME = timedelta(minutes=60)


class Kind(StrEnum):
    """Which of Klarna's two sessions: Hosted Payment Page or Klarna Payments."""

    HPP = "hpp"
    KP = "kp"


class Outcome(StrEnum):
    """How following a payment session ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DISABLED = "disabled"
    EXPIRED = "expired"
    NOT_FOUND = "not_found"

    @property
    def is_guess(self) -> bool:
        """Klarna never says these two; a later reading may prove them wrong."""
        return self in {Outcome.EXPIRED, Outcome.NOT_FOUND}


# docs.klarna.com, hosted payment page, "tracking session status", column "Final". Every other
# status, known or not, is open: FAILED, BACK and ERROR can still become COMPLETED.
HPP_FINAL = {
    "COMPLETED": Outcome.COMPLETED,
    "CANCELLED": Outcome.CANCELLED,
    "DISABLED": Outcome.DISABLED,
}
_KP_FINAL = {KP_COMPLETE: Outcome.COMPLETED}
# Those that Klarna documents, and one of ours (KP_AUTHORIZED); it may send others.
STATUSES = (
    *("WAITING", "IN_PROGRESS", "MANUAL_ID_CHECK", "BACK", "FAILED", "ERROR", *HPP_FINAL),
    *(KP_INCOMPLETE, KP_COMPLETE, KP_AUTHORIZED),
)


def final_outcome(kind: Kind, status: str | None) -> Outcome | None:
    """Return the outcome that `status` settles, or None while it is open."""
    finals = _KP_FINAL if kind is Kind.KP else HPP_FINAL
    return finals.get(status or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadQuota:
    """What an answer says of Klarna's rate limit: reads a second, and how many are left of it."""

    limit: float | None = None
    remaining: int | None = None


NOTHING_SAID = ReadQuota()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one healthy read said; times are aware UTC, as Klarna gave them."""

    status: str
    updated_at: datetime | None = None
    expires_at: datetime | None = None
    order_id: str | None = None
    klarna_reference: str | None = None
    authorization_token: str | None = field(default=None, repr=False)
    read_quota: ReadQuota = NOTHING_SAID
    # Klarna's name for this answer, which its support asks for; no part of what it says.
    correlation_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSession:
    """A followed payment session; times are aware UTC by the database's clock unless said."""

    session_id: str
    account: str
    kind: Kind
    session_url: str
    tracked_at: datetime
    reference: str | None = None
    status: str | None = None
    # Klarna's own `updated_at` of the recorded status, verbatim; when we first saw that status.
    status_updated_at: datetime | None = None
    status_observed_at: datetime | None = None
    expires_at: datetime | None = None
    outcome: Outcome | None = None
    finished_at: datetime | None = None
    # The guess a reopened session ended with before: confirming it emits nothing.
    guessed_outcome: Outcome | None = None
    next_poll_at: datetime | None = None
    # The wait after the last healthy read that the policy alone would keep; 0 or more.
    ideal_interval_seconds: float | None = None
    nudged_at: datetime | None = None
    poll_count: int = 0
    consecutive_failures: int = 0
    # The first of the failed reads in a row, of whatever kind.
    failing_since: datetime | None = None
    last_polled_at: datetime | None = None
    last_read_at: datetime | None = None
    last_error: str | None = None
    not_found_count: int = 0
    not_found_since: datetime | None = None
    transition_count: int = 0
    event_count: int = 0
    order_id: str | None = None
    klarna_reference: str | None = None
    # What the shop's own systems call this payment, by the sink that acts on it there.
    shop_objects: ShopObjects | None = None
    # The confirmation clock: null where no order is waited for.
    authorization_expires_at: datetime | None = None
    next_warning_at: datetime | None = None
    authorization_lapsed_at: datetime | None = None
    # The order that the shop, or a sink for it, placed with the token.
    confirmed_at: datetime | None = None
    confirmed_order_id: str | None = None
    # Set only on a session that a decision just gave a token; stored encrypted, never loaded.
    authorization_token: str | None = field(default=None, repr=False)

    @property
    def status_since(self) -> datetime:
        """When the status began: Klarna's time, but never after we saw it."""
        observed = self.status_observed_at or self.tracked_at
        return min(self.status_updated_at or observed, observed)

    def deadline(self, max_lifetime: timedelta) -> datetime:
        """The moment after which the consumer can no longer pay."""
        return self.expires_at or self.tracked_at + max_lifetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A status change; the first one of a session comes from None."""

    sequence: int
    from_status: str | None
    to_status: str
    occurred_at: datetime
    observed_at: datetime
    # The last healthy read before this one, if any: the change came after it, or was missed by it.
    previous_read_at: datetime | None = None
