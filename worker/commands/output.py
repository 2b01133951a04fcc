"""Output of the commands: tables for people, JSON for programs, one line for a fault."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

# A pipe or a file has no width; 80 columns would fold the tables.
console = Console(width=None if sys.stdout.isatty() else 150)

FAILED = 1
WRONG_USAGE = 2


def print_json(value: object) -> None:
    """Print one JSON document to standard output; times in ISO 8601, UTC."""
    sys.stdout.write(json.dumps(value, default=_plain, indent=2) + "\n")


def print_rows(title: str, rows: Sequence[Mapping[str, Any]], *, none: str) -> None:
    """Print rows as a table, or `none` where there are none."""
    if not rows:
        console.print(Text.assemble((title, "bold"), f": {none}"))
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold", no_wrap=name == "session_id")
    for row in rows:
        table.add_row(*(Text(text(value)) for value in row.values()))
    console.print(table)


def print_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Print one thing's facts, a line each; unknown ones are left out."""
    console.print(Text(printable(title), style="bold"))
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in facts.items():
        if value is not None:
            table.add_row(Text(name.replace("_", " "), style="dim"), Text(text(value)))
    console.print(table)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return "1 read" or "2 reads"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def since(moment: datetime) -> str:
    """Return a moment to the second, in UTC: `2026-01-31T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def say(line: str) -> None:
    """Print one line of plain text; markup in it has no effect."""
    console.print(Text(printable(line)))


def text(value: object) -> str:
    """Return a cell's text; None is a dash."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:.1f}"
    return printable(str(value))


def printable(value: str) -> str:
    """Return `value` with control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


def fail(message: str, *, code: int = FAILED) -> NoReturn:
    """End the command with one line on standard error."""
    sys.stderr.write(printable(message) + "\n")
    raise SystemExit(code)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)
