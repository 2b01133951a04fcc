"""Reads settings from the environment; faults are one line each, never with a secret's value."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError


class InvalidSettingsError(ValueError):
    """Settings are invalid; `faults` has one line for each fault, naming the variable."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def parse(kind: type[SettingsT]) -> SettingsT:
    """Return `kind` read from the environment.

    Raises:
        InvalidSettingsError: with one line per fault.
    """
    try:
        return kind()
    except ValidationError as error:
        raise InvalidSettingsError([_fault(detail) for detail in error.errors()]) from None
    except SettingsError as error:
        # Only these variables are parsed as JSON, when they are set without a name.
        name = "WEBHOOK_ENDPOINTS" if "webhook_endpoints" in str(error) else "KLARNA_ACCOUNTS"
        field = "URL" if name == "WEBHOOK_ENDPOINTS" else "USERNAME"
        fault = f"{name}: cannot be set by itself: use {name}__<NAME>__{field}"
        raise InvalidSettingsError([fault]) from None


def load(kind: type[SettingsT]) -> SettingsT:
    """Return `kind`, or print the faults to standard error and exit with code 2."""
    try:
        return parse(kind)
    except InvalidSettingsError as error:
        refuse(error)


def refuse(error: InvalidSettingsError) -> NoReturn:
    """Print the faults to standard error and exit with code 2."""
    sys.stderr.write("Invalid settings:\n" + "".join(f"  {line}\n" for line in error.faults))
    raise SystemExit(2) from None


def _fault(detail: Mapping[str, Any]) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ")
    variable = "__".join(str(part) for part in detail["loc"] if not isinstance(part, int)).upper()
    if not variable:
        return message
    if detail["type"] == "missing":
        message = "is missing"
    if detail["type"] == "too_short":
        message = "is empty"
    if variable == "TOKEN_ENCRYPTION_KEYS" and detail["type"] in {"missing", "too_short"}:
        message += ": `session-worker generate-key` prints one"
    return f"{variable}: {message[:1].lower()}{message[1:]}"
