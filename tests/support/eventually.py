"""Waits for facts with a deadline; the only place where a test lets time pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Fact = TypeVar("Fact")

PAUSE_SECONDS = 0.02


def eventually(
    fact: Callable[[], Fact],
    *,
    within: float = 15.0,
    because: str = "",
) -> Fact:
    """Return the first truthy value of `fact`, or fail with the last one after `within` seconds."""
    deadline = time.monotonic() + within  # noqa: TID251 - a test's deadline
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > deadline:  # noqa: TID251 - a test's deadline
            message = f"not within {within:g} s: {because or fact!r}; last seen: {value!r}"
            raise AssertionError(message)
        time.sleep(PAUSE_SECONDS)
