"""Parses Klarna's answers and drops their personal data."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from worker.domain.errors import InvalidArgumentError, ProtocolError
from worker.domain.session import (
    KP_AUTHORIZED,
    KP_INCOMPLETE,
    OPTIONAL_FIELDS,
    Kind,
    Observation,
)

# Dates outside are no dates of a payment session; later arithmetic with them could overflow.
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("has control characters")
    return value


def _printable_secret(value: SecretStr) -> SecretStr:
    _printable(value.get_secret_value())
    return value


def _date_text(value: object) -> object:
    # Pydantic would accept a number as seconds since 1970.
    if not isinstance(value, str) or value.strip("+-.0123456789") == "":
        raise ValueError("must be an ISO 8601 date")
    return value


def _possible(value: datetime) -> datetime:
    # Aware datetimes compare without overflow, unlike `astimezone` near the years 1 and 9999.
    if not _EARLIEST <= value <= _LATEST:
        raise ValueError("must be between 2000 and 2200")
    return value.astimezone(UTC)


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


Text = Annotated[str, Field(max_length=255), AfterValidator(_printable)]
OptionalText = Annotated[Text | None, BeforeValidator(_none_if_empty)]
Moment = Annotated[AwareDatetime, BeforeValidator(_date_text), AfterValidator(_possible)]
# Printable, because other text may not be encodable, and because shops put tokens into URLs.
Token = Annotated[
    Annotated[SecretStr, Field(max_length=4096), AfterValidator(_printable_secret)] | None,
    BeforeValidator(_none_if_empty),
]
# Parsed only to detect wrong types; neither kept nor shown.
Private = Annotated[dict[str, Any] | None, Field(repr=False, exclude=True)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class SessionResponseV1(_Answer):
    """The read of an HPP session. Klarna's schema requires no field and may grow.

    Source: Klarna's OpenAPI, hosted payment page API, SessionResponseV1.
    """

    session_id: OptionalText = None
    status: OptionalText = None
    updated_at: Moment | None = None
    expires_at: Moment | None = None
    authorization_token: Token = None
    order_id: OptionalText = None
    klarna_reference: OptionalText = None
    customer: Private = None
    manual_identification: Private = None


class KpSessionRead(_Answer):
    """The used fields of the read of a KP session. Source: Klarna Payments API reference."""

    session_id: OptionalText = None
    status: OptionalText = None
    expires_at: Moment | None = None
    authorization_token: Token = None
    order_id: OptionalText = None


class SessionCreationResponseV1(_Answer):
    """The answer to creating an HPP session.

    Source: Klarna's OpenAPI, hosted payment page API, SessionCreationResponseV1. Of its eight
    fields only these are read. `expires_at` is not checked here: a wrong one is left out later.
    """

    session_id: Text
    session_url: str | None = None
    expires_at: Any = Field(default=None, repr=False)


def parse_session(body: bytes, *, kind: Kind, session_id: str) -> Observation:
    """Return the observation in the body of a 200.

    Invalid values of OPTIONAL_FIELDS count as absent; the observation names these fields.

    Raises:
        ProtocolError: it is not a valid answer for this session; the text names fields only.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ProtocolError("body is not JSON", status_code=200) from None
    if not isinstance(document, dict):
        raise ProtocolError("body is not an object", status_code=200)
    answer, ignored = _validated(document, kind)
    if answer.session_id not in {None, session_id}:
        raise ProtocolError("answer is of another session", status_code=200)
    if answer.status is None:
        raise ProtocolError("no status", status_code=200)
    return replace(_observation(answer, answer.status), ignored_fields=ignored)


def _validated(
    document: dict[str, Any], kind: Kind
) -> tuple[SessionResponseV1 | KpSessionRead, tuple[str, ...]]:
    """Return the answer without its invalid optional fields, and the names of these."""
    model = SessionResponseV1 if kind is Kind.HPP else KpSessionRead
    try:
        return model.model_validate(document), ()
    except ValidationError as error:
        invalid = _invalid_fields(error)
    if required := invalid - OPTIONAL_FIELDS:
        detail = f"wrong type: {', '.join(sorted(required))}"
        raise ProtocolError(detail, status_code=200) from None
    valid = {name: value for name, value in document.items() if name not in invalid}
    return model.model_validate(valid), tuple(sorted(invalid))


def parse_creation(document: object) -> SessionCreationResponseV1:
    """Return Klarna's create-session answer.

    Raises:
        InvalidArgumentError: it is invalid; the error names the field.
    """
    try:
        return SessionCreationResponseV1.model_validate(document)
    except ValidationError as error:
        fields = ", ".join(sorted(_invalid_fields(error)))
        raise InvalidArgumentError("response", f"wrong or missing: {fields}") from None


def _observation(answer: SessionResponseV1 | KpSessionRead, status: str) -> Observation:
    token = answer.authorization_token
    if isinstance(answer, KpSessionRead) and token and status == KP_INCOMPLETE:
        status = KP_AUTHORIZED
    hpp = answer if isinstance(answer, SessionResponseV1) else None
    return Observation(
        status=status,
        updated_at=hpp.updated_at if hpp else None,
        expires_at=answer.expires_at,
        order_id=answer.order_id,
        klarna_reference=hpp.klarna_reference if hpp else None,
        authorization_token=token.get_secret_value() if token else None,
    )


def _invalid_fields(error: ValidationError) -> set[str]:
    return {str(detail["loc"][0]) if detail["loc"] else "body" for detail in error.errors()}
