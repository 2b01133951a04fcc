"""Output of the demo: a live table on a terminal, lines elsewhere, a summary at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.table import Table

from worker.commands.output import console


@dataclass(slots=True)
class SessionRow:
    """One payment session in the table."""

    title: str
    statuses: list[str] = field(default_factory=list)
    outcome: str | None = None
    expected_outcome: str = ""
    polls: int = 0
    seen_after: float | None = None
    events: list[str] = field(default_factory=list)
    expected_events: tuple[str, ...] = ()
    next_poll_at: datetime | None = None
    last_error: str | None = None

    @property
    def path(self) -> str:
        """The statuses, in order."""
        return " > ".join(self.statuses) or "not read yet"

    @property
    def is_right(self) -> bool:
        """Whether it has the expected outcome and events."""
        return self.outcome == self.expected_outcome and tuple(self.events) == self.expected_events


class LiveTable:
    """A context manager; `show` takes every row each time."""

    def __init__(self) -> None:
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._printed: dict[str, str] = {}

    def show(self, rows: Sequence[SessionRow], *, seconds: float) -> None:
        """Show the current state."""
        if self._live is not None:
            self._live.update(_table(rows, seconds), refresh=True)
            return
        for row in rows:
            text = f"{row.path}{f'  = {row.outcome}' if row.outcome else ''}"
            if row.statuses and self._printed.get(row.title) != text:
                self._printed[row.title] = text
                print(f"{seconds:5.1f} s  {row.title}: {text}", flush=True)  # noqa: T201 - plain

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            # The summary replaces it.
            self._live.transient = True
            self._live.stop()


def print_summary(rows: Sequence[SessionRow]) -> None:
    """Print the result of every session, and totals."""
    table = _columns("payment session", "statuses", "outcome", "polls", "seen after", "events")
    for row in rows:
        seen = "-" if row.seen_after is None else f"{row.seen_after:.1f} s"
        table.add_row(
            row.title,
            row.path,
            row.outcome if row.is_right else f"[red]{row.outcome}[/red]",
            str(row.polls),
            seen,
            ", ".join(row.events),
        )
    console.print(table)
    delays = sorted(row.seen_after for row in rows if row.seen_after is not None)
    console.print(
        f"{len(rows)} payment sessions, {sum(row.polls for row in rows)} polls, "
        f"{sum(len(row.statuses) for row in rows)} transitions, "
        f"{sum(len(row.events) for row in rows)} events received from the stream. "
        f"Seen after: time from the last change at Klarna to its transition, "
        f"{delays[len(delays) // 2]:.1f} s median, {delays[-1]:.1f} s maximum."
    )


def _table(rows: Sequence[SessionRow], seconds: float) -> Table:
    done = sum(row.outcome is not None for row in rows)
    table = _columns("payment session", "statuses", "outcome", "polls", "last error")
    table.title = f"{done} of {len(rows)} finished, {seconds:.0f} s"
    for row in rows:
        table.add_row(
            row.title, row.path, row.outcome or "...", str(row.polls), row.last_error or ""
        )
    return table


def _columns(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left")
    for name in names:
        table.add_column(name, no_wrap=name == "seen after")
    return table
