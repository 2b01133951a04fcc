"""Input of the control API; for invalid input the message names the field."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from devkit.sandbox.faults import AnyFault
from devkit.sandbox.scripts import SessionScript, StatusChange

T = TypeVar("T")


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AccountInput(_Input):
    """An account to add or replace; 0 requests per second means no limit."""

    name: str = Field(min_length=1)
    username: str = Field(min_length=1)
    password: str = Field(min_length=1)
    requests_per_second: int = Field(default=200, ge=0)


class LimiterInput(_Input):
    """A new limit for one account, or for all without `account`."""

    requests_per_second: int = Field(ge=0)
    account: str | None = None


class ReleaseInput(_Input):
    """Which held responses to release: the oldest `count` of those that match, all without any."""

    hold_id: int | None = None
    session_id: str | None = None
    account: str | None = None
    count: int | None = Field(default=None, ge=1)


class ClockInput(_Input):
    """Seconds to move the mock server's clock by."""

    advance: float


class LogInput(_Input):
    """How many requests the log keeps; 0 switches it off."""

    size: int = Field(ge=0, le=1_000_000)


SCRIPTS: TypeAdapter[list[SessionScript]] = TypeAdapter(list[SessionScript])
FAULT: TypeAdapter[AnyFault] = TypeAdapter(AnyFault)
SCRIPT = TypeAdapter(SessionScript)
STATUS_CHANGE = TypeAdapter(StatusChange)
ACCOUNT = TypeAdapter(AccountInput)
LIMITER = TypeAdapter(LimiterInput)
RELEASE = TypeAdapter(ReleaseInput)
CLOCK = TypeAdapter(ClockInput)
LOG = TypeAdapter(LogInput)


class WrongInputError(ValueError):
    """Control input that was refused; `errors` pairs each field with what is wrong with it."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors))
        self.errors = list(errors)


def validated(adapter: TypeAdapter[T], body: bytes) -> T:
    """Return the JSON `body` as what `adapter` describes; an empty body counts as `{}`.

    Raises:
        WrongInputError: It is no JSON or does not fit.
    """
    try:
        return adapter.validate_json(body or b"{}")
    except ValidationError as error:
        raise WrongInputError([_named(details) for details in error.errors()]) from error


def _named(details: Any) -> tuple[str, str]:  # noqa: ANN401 - pydantic's ErrorDetails, or alike
    field = ".".join(str(part) for part in details["loc"]) or "body"
    return field, str(details["msg"])
