"""The payment session as it is stored, and one observation of it at Klarna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

# The statuses of KP (Klarna Payments API reference: read a session). `authorized` is the worker's
# own: a KP session that is `incomplete` and has a token.
KP_COMPLETE = "complete"
KP_INCOMPLETE = "incomplete"
KP_AUTHORIZED = "authorized"

# By sink: ids of the payment in the sink's system; no secrets.
ShopObjects = Mapping[str, Mapping[str, str]]

# How long an authorization token is valid: docs.klarna.com, place order.
AUTHORIZATION_LIFETIME = timedelta(minutes=60)


class Kind(StrEnum):
    """Klarna's two kinds of sessions: Hosted Payment Page and Klarna Payments."""

    HPP = "hpp"
    KP = "kp"


class Outcome(StrEnum):
    """How a payment session ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DISABLED = "disabled"
    EXPIRED = "expired"
    NOT_FOUND = "not_found"

    @property
    def is_guess(self) -> bool:
        """Whether the worker concluded it: Klarna does not report it, and it may prove wrong."""
        return self in {Outcome.EXPIRED, Outcome.NOT_FOUND}


# docs.klarna.com, hosted payment page, "tracking session status", column "Final". Every other
# status, known or not, is open: FAILED, BACK and ERROR can still become COMPLETED.
HPP_FINAL = {
    "COMPLETED": Outcome.COMPLETED,
    "CANCELLED": Outcome.CANCELLED,
    "DISABLED": Outcome.DISABLED,
}
HPP_COMPLETED = "COMPLETED"
_KP_FINAL = {KP_COMPLETE: Outcome.COMPLETED}
# The documented open statuses of the same table, and all documented statuses.
HPP_OPEN = frozenset({"WAITING", "IN_PROGRESS", "MANUAL_ID_CHECK", "BACK", "FAILED", "ERROR"})
STATUSES = HPP_OPEN | HPP_FINAL.keys() | {KP_INCOMPLETE, KP_AUTHORIZED, KP_COMPLETE}


# The words that Klarna documents for each kind.
_DOCUMENTED = {
    Kind.HPP: HPP_OPEN | HPP_FINAL.keys(),
    Kind.KP: frozenset({KP_INCOMPLETE, KP_COMPLETE}),
}


def final_outcome(kind: Kind, status: str | None) -> Outcome | None:
    """Return the outcome that `status` settles, or None while it is open."""
    finals = _KP_FINAL if kind is Kind.KP else HPP_FINAL
    return finals.get(status or "")


def settled_outcome(kind: Kind, seen: Observation) -> Outcome | None:
    """Return the outcome that an answer settles, or None.

    Proof of payment settles under a status that Klarna does not document, and a token settles any
    KP session. CANCELLED and DISABLED end as they are called.
    """
    status = seen.status
    if (final := final_outcome(kind, status)) is not None:
        return final
    has_kp_token = kind is Kind.KP and seen.authorization_token is not None
    has_proof = seen.has_proof and status not in _DOCUMENTED[kind]
    return Outcome.COMPLETED if has_kp_token or has_proof else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadQuota:
    """Klarna's rate limit in an answer's headers: reads a second, and how many are left."""

    limit: float | None = None
    remaining: int | None = None


NOTHING_SAID = ReadQuota()
# The fields of a read whose invalid values count as absent: no payment may be missed because of a
# field that the worker can do without.
OPTIONAL_FIELDS = frozenset(
    {"updated_at", "expires_at", "klarna_reference", "customer", "manual_identification"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One healthy read of a payment session; times are aware UTC, as Klarna gave them."""

    status: str
    updated_at: datetime | None = None
    expires_at: datetime | None = None
    order_id: str | None = None
    klarna_reference: str | None = None
    authorization_token: str | None = field(default=None, repr=False)
    # The fields of the answer whose invalid values count as absent.
    ignored_fields: tuple[str, ...] = ()
    read_quota: ReadQuota = NOTHING_SAID
    # Klarna's id of this answer, for its support.
    correlation_id: str | None = field(default=None, compare=False)

    @property
    def has_proof(self) -> bool:
        """Whether it has proof of payment: a token or an order id."""
        return self.authorization_token is not None or self.order_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSession:
    """A tracked payment session; times are aware UTC by the database's clock unless noted."""

    session_id: str
    account: str
    kind: Kind
    session_url: str
    tracked_at: datetime
    reference: str | None = None
    status: str | None = None
    # Klarna's `updated_at` of the recorded status, and when the worker first read that status.
    status_updated_at: datetime | None = None
    status_observed_at: datetime | None = None
    expires_at: datetime | None = None
    outcome: Outcome | None = None
    finished_at: datetime | None = None
    # The guessed outcome of a reopened session: reaching it again has no events.
    guessed_outcome: Outcome | None = None
    next_poll_at: datetime | None = None
    # The policy's interval after the last healthy read, without limits; 0 or more.
    ideal_interval_seconds: float | None = None
    nudged_at: datetime | None = None
    poll_count: int = 0
    consecutive_failures: int = 0
    # The first of the failed reads in a row, of any kind.
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
    # Ids of this payment in the shop's systems, by sink.
    shop_objects: ShopObjects | None = None
    # The confirmation clock: None if no order is expected.
    authorization_expires_at: datetime | None = None
    next_warning_at: datetime | None = None
    authorization_lapsed_at: datetime | None = None
    # The order that the shop, or a sink for it, placed with the token.
    confirmed_at: datetime | None = None
    confirmed_order_id: str | None = None
    # Set only by the decision that received the token; stored encrypted, never loaded.
    authorization_token: str | None = field(default=None, repr=False)
    # Whether a token is stored; loaded, never written.
    holds_token: bool = False

    @property
    def has_proof(self) -> bool:
        """Whether some answer had proof of payment: a token or an order id."""
        return self.holds_token or self.order_id is not None

    @property
    def is_completed_empty(self) -> bool:
        """Whether it is open though Klarna said COMPLETED: without token and order, so far."""
        return self.outcome is None and self.kind is Kind.HPP and self.status == HPP_COMPLETED

    @property
    def status_since(self) -> datetime:
        """When the status began, by Klarna, but never after the worker first read it."""
        observed = self.status_observed_at or self.tracked_at
        return min(self.status_updated_at or observed, observed)

    def deadline(self, max_lifetime: timedelta) -> datetime:
        """Return the moment after which the consumer can no longer pay."""
        return self.expires_at or self.tracked_at + max_lifetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A status change; the first one of a session comes from None."""

    sequence: int
    from_status: str | None
    to_status: str
    occurred_at: datetime
    observed_at: datetime
    # The last healthy read before this one, if any; it did not show the change.
    previous_read_at: datetime | None = None
