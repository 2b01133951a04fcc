"""Constants of the domain as SQL literals. A value from outside must be a parameter instead."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta


def one_of(values: Iterable[str]) -> str:
    """Return the right side of `IN`: the values in parentheses."""
    return f"({', '.join(literal(value) for value in sorted(values))})"


def literal(value: str) -> str:
    """Return the text in quotes."""
    quoted = value.replace("'", "''")
    return f"'{quoted}'"


def interval(span: timedelta) -> str:
    """Return the duration, in milliseconds."""
    return f"interval '{span / timedelta(milliseconds=1):.0f} ms'"
