"""How values are written in the environment, whatever they mean."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

ENVIRONMENT = SettingsConfigDict(
    env_nested_delimiter="__", extra="ignore", frozen=True, hide_input_in_errors=True
)


def comma_list(value: object) -> object:
    """Return the parts of a comma list, each once: a sink named twice would get events twice."""
    if isinstance(value, str):
        return list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    return value


def nothing_if_blank(value: object) -> object:
    """Return None for an empty variable, such as `KLARNA_PROXY_URL=` in an .env file."""
    return None if value == "" else value
