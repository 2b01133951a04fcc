"""How the commands answer: tables for people, JSON for programs, one line for a fault."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

# A pipe or a file has no width of its own; tables are made for reading, not for 80 columns.
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
    """Print what is known of one thing, a line each; what is not known is left out."""
    console.print(Text(printable(title), style="bold"))
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in facts.items():
        if value is not None:
            table.add_row(Text(name.replace("_", " "), style="dim"), Text(text(value)))
    console.print(table)


def say(line: str) -> None:
    """Print one line of plain text: what looks like markup in it is text as well."""
    console.print(Text(printable(line)))


def text(value: object) -> str:
    """Return a cell's text; nothing is a dash."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:.1f}"
    return printable(str(value))


def printable(value: str) -> str:
    """Return `value` with escapes for what would steer a terminal or begin another line."""
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
