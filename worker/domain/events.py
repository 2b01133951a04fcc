"""Domain events as CloudEvents 1.0; the authorization token is added only for delivery."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from worker.domain.session import PaymentSession

SOURCE = "klarna-session-worker"
# Must never change: event ids must be the same after restarts and redeliveries.
_EVENT_NAMESPACE = uuid.UUID("6f7a1f0e-0d0b-5c1f-9a53-3f2f6a0f4d11")


class EventType(StrEnum):
    """The types of events about a payment session."""

    AUTHORIZED = "payment_session.authorized"
    ORDER_PLACED = "payment_session.order_placed"
    COMPLETED = "payment_session.completed"
    CANCELLED = "payment_session.cancelled"
    DISABLED = "payment_session.disabled"
    EXPIRED = "payment_session.expired"
    NOT_FOUND = "payment_session.not_found"
    AUTHORIZATION_EXPIRING = "payment_session.authorization_expiring"
    AUTHORIZATION_LAPSED = "payment_session.authorization_lapsed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One domain event; `sequence` counts the events of its payment session from 1."""

    type: EventType
    session_id: str
    sequence: int
    time: datetime
    data: dict[str, Any]

    @property
    def event_id(self) -> uuid.UUID:
        """Stable: derived only from session id, type and sequence."""
        return uuid.uuid5(_EVENT_NAMESPACE, f"{self.session_id}/{self.type}/{self.sequence}")

    def envelope(self) -> dict[str, Any]:
        """Return the CloudEvents JSON object, without the authorization token."""
        return {
            "specversion": "1.0",
            "id": str(self.event_id),
            "source": SOURCE,
            "type": str(self.type),
            "subject": self.session_id,
            "time": rfc3339(self.time),
            "datacontenttype": "application/json",
            "sequence": f"{self.sequence:010d}",
            "data": self.data,
        }


def build_event(  # everything that an event may say
    event_type: EventType,
    session: PaymentSession,
    *,
    sequence: int,
    time: datetime,
    observed_at: datetime,
    authorization_expires_at: datetime | None = None,
    minutes_left: int | None = None,
) -> Event:
    """Return an event of `session`, which is the session after the decision."""
    data: dict[str, Any] = {
        "session_id": session.session_id,
        "account": session.account,
        "kind": str(session.kind),
        "reference": session.reference,
        "status": session.status,
        "updated_at": rfc3339(session.status_updated_at),
        "expires_at": rfc3339(session.expires_at),
        "observed_at": rfc3339(observed_at),
    }
    if authorization_expires_at is not None:
        data["authorization_expires_at"] = rfc3339(authorization_expires_at)
    if minutes_left is not None:
        data["minutes_left"] = minutes_left
    if session.order_id is not None:
        data["order_id"] = session.order_id
    if session.klarna_reference is not None:
        data["klarna_reference"] = session.klarna_reference
    return Event(
        type=event_type, session_id=session.session_id, sequence=sequence, time=time, data=data
    )


def with_token(envelope: dict[str, Any], token: str) -> dict[str, Any]:
    """Return a copy of an authorized event's envelope with the token."""
    return {**envelope, "data": {**envelope["data"], "authorization_token": token}}


def rfc3339(moment: datetime | None) -> str | None:
    """Return `moment` in UTC with a Z, or None."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
