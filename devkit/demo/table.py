"""What the demo shows: a live table on a terminal, plain lines elsewhere, a summary at the end."""

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
class Line:
    """One payment session as the demo tells it."""

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
        """Whether it ended as it must, with the events it must have."""
        return self.outcome == self.expected_outcome and tuple(self.events) == self.expected_events


class Screen:
    """A context manager; `show` is given every line each time."""

    def __init__(self) -> None:
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._told: dict[str, str] = {}

    def show(self, lines: Sequence[Line], *, seconds: float) -> None:
        """Show how far everything is."""
        if self._live is not None:
            self._live.update(_table(lines, seconds), refresh=True)
            return
        for line in lines:
            told = f"{line.path}{f'  = {line.outcome}' if line.outcome else ''}"
            if line.statuses and self._told.get(line.title) != told:
                self._told[line.title] = told
                print(f"{seconds:5.1f} s  {line.title}: {told}", flush=True)  # noqa: T201 - plain

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
            # The summary follows, and says more than the last picture.
            self._live.transient = True
            self._live.stop()


def print_summary(lines: Sequence[Line]) -> None:
    """Print the end of every session, and what stands out."""
    table = _columns("payment session", "statuses", "outcome", "polls", "seen after", "events")
    for line in lines:
        seen = "-" if line.seen_after is None else f"{line.seen_after:.1f} s"
        table.add_row(
            line.title,
            line.path,
            line.outcome if line.is_right else f"[red]{line.outcome}[/red]",
            str(line.polls),
            seen,
            ", ".join(line.events),
        )
    console.print(table)
    delays = sorted(line.seen_after for line in lines if line.seen_after is not None)
    console.print(
        f"{len(lines)} payment sessions, {sum(line.polls for line in lines)} polls, "
        f"{sum(len(line.statuses) for line in lines)} transitions, "
        f"{sum(len(line.events) for line in lines)} events received from the stream. "
        f"Seen after: from the last change at Klarna to its record, "
        f"{delays[len(delays) // 2]:.1f} s in the median, {delays[-1]:.1f} s at most."
    )


def _table(lines: Sequence[Line], seconds: float) -> Table:
    done = sum(line.outcome is not None for line in lines)
    table = _columns("payment session", "statuses", "outcome", "polls", "last error")
    table.title = f"{done} of {len(lines)} finished, {seconds:.0f} s"
    for line in lines:
        table.add_row(
            line.title, line.path, line.outcome or "...", str(line.polls), line.last_error or ""
        )
    return table


def _columns(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left")
    for name in names:
        table.add_column(name, no_wrap=name == "seen after")
    return table
