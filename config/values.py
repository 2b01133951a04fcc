"""How values are written in the environment, whatever they mean."""

from __future__ import annotations

from typing import Any

from pydantic_settings import SettingsConfigDict

ENVIRONMENT = SettingsConfigDict(
    env_nested_delimiter="__", extra="ignore", frozen=True, hide_input_in_errors=True
)


def comma_list(value: object) -> object:
    """Return the parts of a comma list, each once: a sink named twice would get events twice."""
    if isinstance(value, str):
        return list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    return value


def by_lower_cased_name(value: object) -> object:
    """Return the parts of `PREFIX__<NAME>__FIELD` by lower-cased name, those of JSON merged in."""
    if not isinstance(value, dict):
        return value
    merged: dict[str, Any] = {}
    for name, fields in value.items():
        before = merged.get(name.lower())
        if isinstance(before, dict) and isinstance(fields, dict):
            merged[name.lower()] = {**before, **fields}
        else:
            merged[name.lower()] = fields
    return merged


def nothing_if_blank(value: object) -> object:
    """Return None for an empty variable, such as `KLARNA_PROXY_URL=` in an .env file."""
    return None if value == "" else value
