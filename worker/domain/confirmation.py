"""The confirmation clock: warns while an authorization is about to expire without an order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from worker.domain.errors import ConflictError, InvalidArgumentError
from worker.domain.events import Event, EventType, build_event
from worker.domain.session import PaymentSession
from worker.domain.session_addresses import as_text

# The shop is warned of a missing order when its authorization has this much time left.
WARNINGS = (timedelta(minutes=20), timedelta(minutes=10), timedelta(minutes=5))
LONGEST_ORDER_ID = 255
_MINUTE = timedelta(minutes=1)


class ConfirmEffect(StrEnum):
    """What confirming an order does to the stored payment session."""

    CONFIRMED = "confirmed"
    UNCHANGED = "unchanged"
    # Nobody tracks the session yet: kept until somebody does.
    EARLY = "early"


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A warning of a missing order: the session afterwards, and the event."""

    session: PaymentSession
    event: Event


def check_order_id(value: object) -> str:
    """Return a valid order id of the shop or of Klarna.

    Raises:
        InvalidArgumentError: on anything else.
    """
    value = as_text(value)
    if value is None or value == "":
        raise InvalidArgumentError("order_id", "is missing")
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_ORDER_ID:
        raise InvalidArgumentError(
            "order_id", f"must be printable text of at most {LONGEST_ORDER_ID} characters"
        )
    return value


def apply_confirmation(
    existing: PaymentSession, order_id: str, *, now: datetime
) -> tuple[PaymentSession, ConfirmEffect]:
    """Return `existing` with its order confirmed, whatever its status.

    Raises:
        ConflictError: it was confirmed with another order.
    """
    if existing.confirmed_order_id == order_id:
        return existing, ConfirmEffect.UNCHANGED
    if existing.confirmed_order_id is not None:
        raise ConflictError("order_id", "is not the one that this session was confirmed with")
    confirmed = replace(
        existing, confirmed_at=now, confirmed_order_id=order_id, next_warning_at=None
    )
    return confirmed, ConfirmEffect.CONFIRMED


def first_warning_at(authorized: PaymentSession, expires_at: datetime) -> datetime | None:
    """Return when the first warning is due; None if Klarna or the shop has the order already.

    If the moment is past, the warning is due at once.
    """
    if authorized.order_id is not None or authorized.confirmed_at is not None:
        return None
    return expires_at - WARNINGS[0]


def due_warning(session: PaymentSession, *, now: datetime) -> Warned | None:
    """Return the most urgent warning that is due at `now`, or None."""
    expires_at, due_at = session.authorization_expires_at, session.next_warning_at
    if expires_at is None or due_at is None or now < due_at:
        return None
    left = expires_at - now
    if left <= timedelta(0):
        lapsed = replace(session, next_warning_at=None, authorization_lapsed_at=now)
        return _warned(lapsed, EventType.AUTHORIZATION_LAPSED, time=expires_at, now=now)
    at = next((expires_at - each for each in WARNINGS if each < left), expires_at)
    warned = replace(session, next_warning_at=at)
    # Rounded up: a warning in time says 20, 10 or 5.
    minutes = -(-left // _MINUTE)
    return _warned(
        warned, EventType.AUTHORIZATION_EXPIRING, time=now, now=now, minutes_left=minutes
    )


def _warned(
    session: PaymentSession,
    event_type: EventType,
    *,
    time: datetime,
    now: datetime,
    minutes_left: int | None = None,
) -> Warned:
    after = replace(session, event_count=session.event_count + 1)
    event = build_event(
        event_type,
        after,
        sequence=after.event_count,
        time=time,
        observed_at=now,
        authorization_expires_at=session.authorization_expires_at,
        minutes_left=minutes_left,
    )
    return Warned(session=after, event=event)
