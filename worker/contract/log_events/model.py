"""The shape of a registered log event."""

from __future__ import annotations

from typing import Literal, NamedTuple

REPORT = "report it with the traceback"
OUTAGE = "nothing; if it lasts, `session-worker check`"


class LogEvent(NamedTuple):
    """One log event: name, level and fields are what the code logs, the rest is for operators."""

    name: str
    level: Literal["debug", "info", "warning", "error"]
    fields: tuple[str, ...]
    meaning: str
    action: str = "nothing"
    alert: bool = False
