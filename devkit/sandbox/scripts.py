"""Scripts of sessions, as the control API takes them."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from devkit.sandbox.faults import AnyFault
from devkit.sandbox.timestamps import epoch_seconds

Kind = Literal["hpp", "kp"]
PlaceOrderMode = Literal["NONE", "PLACE_ORDER", "CAPTURE_ORDER"]
Carries = Literal["token", "order", "both", "neither"]
AfterExpiry = Literal["last_status", "not_found"]


def _with_zone(timestamp: str) -> str:
    epoch_seconds(timestamp)
    return timestamp


Timestamp = Annotated[str, AfterValidator(_with_zone)]
"""An ISO 8601 time with a zone, sent out exactly as written."""

SessionId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/?#\s]+$")]


class Change(BaseModel):
    """One status and what its response carries.

    `updated_at` is a verbatim time, or seconds relative to the moment the status is set.
    `body` replaces the whole response; `extra` adds fields and `omit` drops some.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: str = Field(min_length=1)
    updated_at: float | Timestamp | None = None
    authorization_token: str | None = None
    order_id: str | None = None
    klarna_reference: str | None = None
    carries: Carries | None = None
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    omit: list[str] = Field(default_factory=list)
    body: JsonValue | None = None


class Step(Change):
    """A status that holds from `after` seconds since the session's creation on."""

    after: float = Field(default=0.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_pair(cls, value: Any) -> Any:  # noqa: ANN401 - anything may come in from outside
        """Accept the short form `[after, status]` as well."""
        if isinstance(value, list | tuple):
            if len(value) != 2:  # noqa: PLR2004 - a pair
                raise ValueError("a step is [seconds, status] or an object")
            return {"after": value[0], "status": value[1]}
        return value


class StatusChange(Change):
    """A status set by hand: it holds from now on; later steps are dropped unless kept."""

    keep_steps: bool = False


class SessionScript(BaseModel):
    """A session and its statuses over time.

    Durations are seconds. `started_ago` puts the creation into the past. `carries` overrides what
    COMPLETED carries by `place_order_mode`. `after_expiry` says what a read past `expires_at` gets,
    which Klarna does not document. In a KP script the step status `authorized` stands for
    `incomplete` with an authorization token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = "hpp"
    session_id: SessionId | None = None
    account: str = Field(default="default", min_length=1)
    place_order_mode: PlaceOrderMode = "NONE"
    carries: Carries | None = None
    expires_in: float | None = None
    expires_at: Timestamp | None = None
    started_ago: float = 0.0
    updated_at: float | Timestamp | None = None
    steps: list[Step] = Field(default_factory=list)
    authorization_token: str | None = None
    order_id: str | None = None
    klarna_reference: str | None = None
    customer: dict[str, JsonValue] | None = None
    manual_identification: dict[str, JsonValue] | None = None
    after_expiry: AfterExpiry = "last_status"
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    omit: list[str] = Field(default_factory=list)
    faults: list[AnyFault] = Field(default_factory=list)

    @field_validator("steps")
    @classmethod
    def _in_order(cls, steps: list[Step]) -> list[Step]:
        if any(later.after < earlier.after for earlier, later in pairwise(steps)):
            raise ValueError("steps must be in the order of `after`")
        return steps

    @model_validator(mode="after")
    def _one_expiry(self) -> "SessionScript":
        if self.expires_in is not None and self.expires_at is not None:
            raise ValueError("give `expires_in` or `expires_at`, not both")
        return self
