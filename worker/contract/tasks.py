"""The tasks that a shop may send, as published: names, and arguments in their order.

`worker.tasks` takes these arguments and no others. What is wrong in one is found by the services,
in words of their own: nothing is validated here.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

_SESSION_ID = Field(
    pattern=r"^[A-Za-z0-9._~-]{1,128}$", examples=["39a1c773-bafd-754d-af1f-b30c592f1267"]
)
SessionId = Annotated[str, _SESSION_ID]
Account = Annotated[str | None, Field(examples=["default"])]
Reference = Annotated[str | None, Field(max_length=255, examples=["order-17"])]
Document = dict[str, Any]


class TaskArguments(BaseModel):
    """The arguments of a task; `task` is its name."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")
    task: ClassVar[str]


class Track(TaskArguments):
    """Follow a payment session, or read it now where it is followed already."""

    task = "payment_sessions.track"

    session_id: SessionId
    """Klarna's id."""
    session_url: Annotated[str | None, Field(max_length=2048)] = None
    """Klarna's `session_url`; must lie on an allowed origin and end in the session id."""
    expires_at: Annotated[
        str | None,
        Field(json_schema_extra={"format": "date-time"}, examples=["2030-01-01T00:00:00Z"]),
    ] = None
    """The end of the time to pay: ISO 8601 with its time zone."""
    account: Account = None
    """A configured account; `default` if absent."""
    kind: Literal["hpp", "kp"] | None = None
    """Hosted Payment Page or Klarna Payments; `hpp` if absent."""
    reference: Reference = None
    """The shop's own id; every event repeats it."""


class TrackCreated(TaskArguments):
    """Follow the session that Klarna's answer to "create an HPP session" tells of."""

    task = "payment_sessions.track_created"

    response: Annotated[
        Document, Field(examples=[{"session_id": "39a1c773-bafd-754d-af1f-b30c592f1267"}])
    ]
    """`SessionCreationResponseV1`, as it came."""
    account: Account = None
    """A configured account; `default` if absent."""
    reference: Reference = None
    """The shop's own id; every event repeats it."""


class TrackKlarnaPayment(TaskArguments):
    """Follow the KP session of a Commerce Layer `klarna_payments`; its sink places the order."""

    task = "payment_sessions.track_klarna_payment"

    resource: Annotated[
        Document,
        Field(
            examples=[
                {
                    "data": {
                        "type": "klarna_payments",
                        "id": "xYZkjABcde",
                        "attributes": {"session_id": "39a1c773-bafd-754d-af1f-b30c592f1267"},
                    }
                }
            ]
        ),
    ]
    """The JSON:API document, as it came."""
    account: Account = None
    """A configured account; `default` if absent."""
    reference: Reference = None
    """The shop's own id; every event repeats it."""


class TrackPayway(TaskArguments):
    """Follow the KP session of a purchase at Payway; its sink places the order."""

    task = "payment_sessions.track_payway"

    response: Annotated[
        Document,
        Field(examples=[{"item": {"klarna_payments_session_id": "5f1a7b0c9d3e4a2b8c6d7e8f"}}]),
    ]
    """What `create_session` answered, as it came."""
    session_id: Annotated[str | None, _SESSION_ID] = None
    """Klarna's session id, where the answer's client token does not tell it."""
    account: Account = None
    """A configured account; `default` if absent."""
    reference: Reference = None
    """The shop's own id; every event repeats it."""


class ConfirmOrder(TaskArguments):
    """Say that the order of an authorized session is placed: no warning is due any more."""

    task = "payment_sessions.confirm_order"

    session_id: SessionId
    """Klarna's id of the payment session."""
    order_id: Annotated[
        str, Field(max_length=255, examples=["3eaeb557-5e30-47f8-b840-b8d987f5945d"])
    ]
    """Klarna's id of the order."""


TASKS: tuple[type[TaskArguments], ...] = (
    Track,
    TrackCreated,
    TrackKlarnaPayment,
    TrackPayway,
    ConfirmOrder,
)
