"""Reads settings from the environment; faults are one line each, never with a secret's value."""

from __future__ import annotations

import os
import sys
from typing import NoReturn, TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from config.faults import fault_of
from config.secret_files import Environment, read_environment
from config.values import ENVIRONMENT


class EnvironmentSettings(BaseSettings):
    """Settings from the environment, with secrets from files."""

    model_config = ENVIRONMENT

    @classmethod
    def read(cls) -> Environment:
        """Return this kind's variables of the process, secrets from files included."""
        fields = {name.upper() for name in cls.model_fields}
        return read_environment(os.environ, lambda name: name.partition("__")[0] in fields)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Give pydantic's own source of variables the secrets from files as well."""
        source = EnvSettingsSource(settings_cls)
        source.env_vars = {name.lower(): value for name, value in cls.read().variables.items()}
        return (init_settings, source)


class InvalidSettingsError(ValueError):
    """Settings are invalid; `faults` has one line for each fault, naming the variable."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


SettingsT = TypeVar("SettingsT", bound=EnvironmentSettings)


def parse(kind: type[SettingsT]) -> SettingsT:
    """Return `kind` read from the environment.

    Raises:
        InvalidSettingsError: with one line per fault.
    """
    faults = kind.read().faults
    try:
        settings = kind()
    except ValidationError as error:
        # It imports this module.
        from config.misspelt import what_was_meant  # noqa: PLC0415

        found = [fault_of(detail, what_was_meant) for detail in error.errors()]
        others = [line for line in found if line.partition(":")[0] not in faults]
        raise InvalidSettingsError([*faults.values(), *others]) from None
    except SettingsError as error:
        # Only these variables are parsed as JSON, when they are set without a name.
        name = "WEBHOOK_ENDPOINTS" if "webhook_endpoints" in str(error) else "KLARNA_ACCOUNTS"
        field = "URL" if name == "WEBHOOK_ENDPOINTS" else "USERNAME"
        fault = f"{name}: cannot be set by itself: use {name}__<NAME>__{field}"
        raise InvalidSettingsError([fault]) from None
    if faults:
        raise InvalidSettingsError(list(faults.values()))
    return settings


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
