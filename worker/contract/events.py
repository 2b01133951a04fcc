"""The events as published. A field or a type may be added; none is renamed, removed or retyped.

The worker builds its events in `worker.domain.events`; a test compares the two.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from worker.domain.events import SOURCE, EventType


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


# A field that is not there where it does not apply, rather than null.
_ABSENT = Field(default=None, json_schema_extra=_without_default)
Optional = Annotated[str | SkipJsonSchema[None], _ABSENT]


class _Published(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class SessionData(_Published):
    """The payment session of an event."""

    session_id: Annotated[str, Field(examples=["39a1c773-bafd-754d-af1f-b30c592f1267"])]
    """Klarna's id of the payment session."""
    account: Annotated[str, Field(examples=["default"])]
    """The Klarna account, as configured."""
    kind: Annotated[Literal["hpp", "kp"], Field(examples=["hpp"])]
    """Hosted Payment Page or Klarna Payments."""
    reference: Annotated[str | None, Field(examples=["order-17"])]
    """The shop's own id, as tracked."""
    status: Annotated[str | None, Field(examples=["COMPLETED"])]
    """As Klarna names it; null if the session was never read. `authorized` is a KP session that is
    `incomplete` with a token."""
    updated_at: Annotated[datetime | None, Field(examples=["2026-11-21T10:15:02.117000Z"])]
    """When the status began, by Klarna."""
    expires_at: Annotated[datetime | None, Field(examples=["2026-11-23T09:00:00Z"])]
    """The end of the time to pay."""
    observed_at: Annotated[datetime, Field(examples=["2026-11-21T10:15:05.480000Z"])]
    """When the worker read it, by the database's clock."""
    order_id: Optional
    """Klarna's id of the order, if Klarna sent it."""
    klarna_reference: Optional
    """Klarna's short reference, if Klarna sent it."""


class AuthorizationData(SessionData):
    """The payment session of an event about an authorization."""

    authorization_expires_at: Annotated[datetime, Field(examples=["2026-11-21T11:15:02.117000Z"])]
    """60 minutes after the authorization. Klarna does not say when that was for a KP session: there
    it is 60 minutes after the previous read, but at least 20 minutes after this one."""


class AuthorizedData(AuthorizationData):
    """An authorization, with its token while it is valid."""

    authorization_token: Annotated[
        Optional, Field(examples=["b4bd3423-24e3-4e90-84d8-8c1fbd1dd7fe"])
    ]
    """A secret that places an order on the consumer's account. It is erased an hour after the
    authorization: an event that is delivered or redelivered later has none."""


class OrderPlacedData(SessionData):
    """An order, placed by Klarna."""

    order_id: Annotated[str, Field(examples=["3eaeb557-5e30-47f8-b840-b8d987f5945d"])]
    """Klarna's id of the order."""


class ExpiringData(AuthorizationData):
    """An authorization that expires soon."""

    minutes_left: Annotated[int, Field(ge=1, le=20, examples=[10])]
    """How long the token is still valid, rounded up."""


class CloudEvent(_Published):
    """A CloudEvent 1.0 in JSON."""

    specversion: Literal["1.0"]
    id: Annotated[UUID, Field(examples=["0f0f6d0e-6b0c-5f0a-8a52-3b6a3f1f7a11"])]
    """The same at every delivery: remember it, and skip events that you have handled."""
    source: Literal[SOURCE]  # type: ignore[valid-type] # a constant, and of the same text
    subject: Annotated[str, Field(examples=["39a1c773-bafd-754d-af1f-b30c592f1267"])]
    """The payment session's id."""
    time: Annotated[datetime, Field(examples=["2026-11-21T10:15:02.117000Z"])]
    """When the status began, or `observed_at` if Klarna did not say. For `expired` the end of the
    time to pay, for `authorization_lapsed` the end of the authorization, for
    `authorization_expiring` `observed_at`."""
    datacontenttype: Literal["application/json"]
    sequence: Annotated[str, Field(pattern=r"^[0-9]{10}$", examples=["0000000001"])]
    """The number of the event within its payment session, from 1; as text it sorts correctly."""


class Authorized(CloudEvent):
    """COMPLETED, an unknown status, or a KP session has a token: place the order in time."""

    type: Literal[EventType.AUTHORIZED]
    data: AuthorizedData


class OrderPlaced(CloudEvent):
    """COMPLETED, or an unknown status, has an order id: fulfil the order."""

    type: Literal[EventType.ORDER_PLACED]
    data: OrderPlacedData


class Completed(CloudEvent):
    """A KP session that is `complete`. Or an anomaly: look the session up at Klarna.

    COMPLETED had neither token nor order for five minutes, or one of them came under a status that
    stayed open.
    """

    type: Literal[EventType.COMPLETED]
    data: SessionData


class Cancelled(CloudEvent):
    """The consumer cancelled for good: release the cart."""

    type: Literal[EventType.CANCELLED]
    data: SessionData


class Disabled(CloudEvent):
    """The shop deleted the session."""

    type: Literal[EventType.DISABLED]
    data: SessionData


class Expired(CloudEvent):
    """The time to pay is over, or nothing could be read until a day after it: release the cart."""

    type: Literal[EventType.EXPIRED]
    data: SessionData


class NotFound(CloudEvent):
    """Klarna does not know the session: check its id, its account, the region."""

    type: Literal[EventType.NOT_FOUND]
    data: SessionData


class AuthorizationExpiring(CloudEvent):
    """Authorized, and no order confirmed with 20, 10 or 5 minutes left: place it now."""

    type: Literal[EventType.AUTHORIZATION_EXPIRING]
    data: ExpiringData


class AuthorizationLapsed(CloudEvent):
    """Authorized, and no order confirmed in 60 minutes: the consumer has to pay again."""

    type: Literal[EventType.AUTHORIZATION_LAPSED]
    data: AuthorizationData


EVENTS: tuple[type[CloudEvent], ...] = (
    Authorized,
    OrderPlaced,
    Completed,
    Cancelled,
    Disabled,
    Expired,
    NotFound,
    AuthorizationExpiring,
    AuthorizationLapsed,
)


def type_of(event: type[CloudEvent]) -> EventType:
    """Return the event type of a model."""
    annotation: Any = event.model_fields["type"].annotation
    (event_type,) = annotation.__args__
    return EventType(event_type)
