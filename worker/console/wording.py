"""Formats times, durations and numbers for the pages. Pure: it reads no clock."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
NOTHING = "\N{EN DASH}"
_TENTHS_BELOW = 10
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_SECOND, _MINUTE, _HOUR, _DAY = ("s", 1), ("min", 60), ("h", 3600), ("d", 86_400)
_PAIRS = ((_DAY, _HOUR), (_HOUR, _MINUTE), (_MINUTE, _SECOND), (_SECOND, _SECOND))


def when(value: datetime | None) -> str:
    """Return a moment in UTC, to the second; None is a dash."""
    return NOTHING if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def span(value: float | timedelta | None) -> str:
    """Return a duration in its two largest units: `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 0:
        return f"-{span(-seconds)}"
    # Rounded first, so that 59.97 seconds are a minute.
    if round(seconds, 1) < _TENTHS_BELOW:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    big, small = next((pair for pair in _PAIRS if whole >= pair[0][1]), _PAIRS[-1])
    much, rest = divmod(whole, big[1])
    return f"{much} {big[0]}" + (f" {rest // small[1]} {small[0]}" if rest // small[1] else "")


def count(value: float | None) -> str:
    """Return a number with thin spaces between thousands; None is a dash."""
    return NOTHING if value is None else f"{value:,.0f}".replace(",", "\u202f")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return "1 read" or "2 reads"."""
    return f"{count(number)} {noun if number == 1 else plural or noun + 's'}"


def event_name(event_type: str) -> str:
    """Return an event's type without the common prefix."""
    return event_type.removeprefix("payment_session.")


def task_name(task: str) -> str:
    """Return a task's name without the common prefix."""
    return task.removeprefix("payment_sessions.")


def looks_like_klarna_id(text: str) -> bool:
    """Return whether the text has the form of Klarna's payment session ids, a UUID."""
    return _UUID.fullmatch(text) is not None


FILTERS = {
    "when": when,
    "span": span,
    "count": count,
    "counted": counted,
    "event_name": event_name,
    "task_name": task_name,
    # Foreign text may stand in commands that a person copies.
    "shell": shlex.quote,
}
