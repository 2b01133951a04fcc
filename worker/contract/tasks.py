"""The tasks that a shop may send, as published: names, and arguments in their order.

`worker.tasks` takes these arguments and no others. Nothing is validated here: the domain checks the
values, and its errors name the field.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.domain.session_addresses import LONGEST_URL, SESSION_ID_PATTERN
from worker.domain.tracking import DEFAULT_ACCOUNT, LONGEST_REFERENCE

_SESSION_ID = Field(
    pattern=f"^{SESSION_ID_PATTERN}$", examples=["39a1c773-bafd-754d-af1f-b30c592f1267"]
)
SessionId = Annotated[str, _SESSION_ID]
Account = Annotated[
    str | None,
    Field(
        description=f"A configured account; `{DEFAULT_ACCOUNT}` if absent.",
        examples=[DEFAULT_ACCOUNT],
    ),
]
Reference = Annotated[
    str | None,
    Field(
        description="The shop's own id; every event repeats it.",
        max_length=LONGEST_REFERENCE,
        examples=["order-17"],
    ),
]
Document = dict[str, Any]


class TaskArguments(BaseModel):
    """The arguments of a task; `task` is its name."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")
    task: ClassVar[str]


class Track(TaskArguments):
    """Track a payment session, or poll it now if it is tracked already."""

    task = "payment_sessions.track"

    session_id: SessionId
    """Klarna's id."""
    session_url: Annotated[str | None, Field(max_length=LONGEST_URL)] = None
    """Klarna's `session_url`; must lie on an origin of its account and end in the session id."""
    expires_at: Annotated[
        str | None,
        Field(json_schema_extra={"format": "date-time"}, examples=["2030-01-01T00:00:00Z"]),
    ] = None
    """The end of the time to pay: ISO 8601 with its time zone."""
    account: Account = None
    kind: Literal["hpp", "kp"] | None = None
    """Hosted Payment Page or Klarna Payments; `hpp` if absent."""
    reference: Reference = None


class TrackCreated(TaskArguments):
    """Track the session of Klarna's response to "create an HPP session"."""

    task = "payment_sessions.track_created"

    response: Annotated[
        Document, Field(examples=[{"session_id": "39a1c773-bafd-754d-af1f-b30c592f1267"}])
    ]
    """`SessionCreationResponseV1`, unchanged."""
    account: Account = None
    reference: Reference = None


class TrackKlarnaPayment(TaskArguments):
    """Track the KP session of a Commerce Layer `klarna_payments`; its sink places the order."""

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
    """The JSON:API document, unchanged."""
    account: Account = None
    reference: Reference = None


class TrackPayway(TaskArguments):
    """Track the KP session of a purchase at Payway; its sink places the order."""

    task = "payment_sessions.track_payway"

    response: Annotated[
        Document,
        Field(examples=[{"item": {"klarna_payments_session_id": "5f1a7b0c9d3e4a2b8c6d7e8f"}}]),
    ]
    """The response of `create_session`, unchanged."""
    session_id: Annotated[str | None, _SESSION_ID] = None
    """Klarna's session id, if the response's client token does not name it."""
    account: Account = None
    reference: Reference = None


class ConfirmOrder(TaskArguments):
    """Say that the order of an authorized session is placed: it needs no warning."""

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
