"""What pydantic finds wrong, in our words: one line that names the variable, never its value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is missing",
    "too_short": lambda _: "is empty",
    "string_too_short": lambda _: "is empty",
    "int_parsing": lambda _: "must be a whole number",
    "int_parsing_size": lambda _: "is too large a number",
    "float_parsing": lambda _: "must be a number",
    "finite_number": lambda _: "must be a number",
    "bool_parsing": lambda _: "must be true or false",
    "bool_type": lambda _: "must be true or false",
    "greater_than": lambda given: f"must be more than {_bound(given['gt'])}",
    "greater_than_equal": lambda given: f"must be at least {_bound(given['ge'])}",
    "less_than": lambda given: f"must be less than {_bound(given['lt'])}",
    "less_than_equal": lambda given: f"must be at most {_bound(given['le'])}",
    "string_type": lambda _: "is set by itself: no name goes on with __ after it",
    "enum": lambda given: f"must be one of {_choices(given['expected'])}",
    "literal_error": lambda given: f"must be one of {_choices(given['expected'])}",
}
_TIMEDELTA = re.compile(r"datetime\.timedelta\((?:days=)?(\d+)\)")


def fault_of(detail: Mapping[str, Any], meant: Callable[[str], str | None]) -> str:
    """Return one of pydantic's details as a line; `meant` finds the name of a misspelt variable."""
    variable = "__".join(str(part) for part in detail["loc"] if not isinstance(part, int)).upper()
    kind = detail["type"]
    if kind in {"value_error", "assertion_error"}:
        message = str(detail["ctx"]["error"])
        return f"{variable}: {message}" if variable else message
    if kind in {"extra_forbidden", "model_type", "model_attributes_type", "dict_type"}:
        hint = meant(variable)
        message = f"is no setting: did you mean {hint}?" if hint else "is no setting"
    else:
        message = _WORDS[kind](detail.get("ctx", {})) if kind in _WORDS else "has a wrong value"
    if variable == "TOKEN_ENCRYPTION_KEYS" and kind in {"missing", "too_short"}:
        message += ": `session-worker generate-key` prints one"
    return f"{variable}: {message}"


def _bound(value: object) -> str:
    if (days := _TIMEDELTA.fullmatch(str(value))) is not None:
        return f"{days[1]} days" if days[1] != "0" else "0"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _choices(expected: str) -> str:
    """Return pydantic's list without its quotes and its last `or`."""
    return ", ".join(re.findall(r"'([^']*)'", expected))
