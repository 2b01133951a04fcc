"""Types of settings that several classes use; `urls` has those of addresses."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from config.urls import utf_8
from config.values import nothing_if_blank

FERNET_KEY_BYTES = 32


def secret_text(value: SecretStr) -> SecretStr:
    """Return the secret, where it is UTF-8."""
    utf_8(value.get_secret_value())
    return value


def seconds(value: object) -> object:
    """Return a plain number as seconds; pydantic alone expects ISO 8601."""
    if isinstance(value, timedelta):
        return value
    try:
        return timedelta(seconds=float(str(value)))
    except (ValueError, OverflowError):
        raise ValueError("must be a number of seconds") from None


def _fernet_key(value: SecretStr) -> SecretStr:
    # Decoded as Fernet does it, without the library, which beat does not need.
    try:
        key = base64.urlsafe_b64decode(value.get_secret_value())
    except ValueError:
        key = b""
    if len(key) != FERNET_KEY_BYTES:
        hint = "each key must be 32 bytes in URL-safe base64: `session-worker generate-key`"
        raise ValueError(hint)
    return value


def _login(value: SecretStr) -> SecretStr:
    user, _, password = value.get_secret_value().partition(":")
    if not user or not password:
        raise ValueError("must be user:password")
    return value


Text = Annotated[str, AfterValidator(utf_8)]
SecretText = Annotated[SecretStr, AfterValidator(secret_text)]
FernetKey = Annotated[SecretStr, AfterValidator(_fernet_key)]
Login = Annotated[SecretText, AfterValidator(_login)]
# At most a year, so that dates can be computed with it.
Seconds = Annotated[
    timedelta, BeforeValidator(seconds), Field(gt=timedelta(0), le=timedelta(days=365))
]


# Reads a second; None means the limit that Klarna documents, or that its responses name.
ReadLimit = Annotated[
    Annotated[float, Field(ge=0.1, le=100_000, allow_inf_nan=False)] | None,
    BeforeValidator(nothing_if_blank),
]
