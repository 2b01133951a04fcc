"""track --from: stores a list of payment sessions directly in the database."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import BaseModel, ConfigDict, create_model
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from config.settings import Settings, load
from worker.adapters.json_lines import STANDARD_INPUT, JsonLinesError, each_line
from worker.adapters.postgres.engine import create_engine
from worker.adapters.postgres.sessions.tracking import PostgresBulkTracking
from worker.commands.output import FAILED, counted, fail, print_json, printable, say
from worker.domain.errors import TrackError
from worker.domain.tracking import TRACK_ARGUMENTS, TrackEffect
from worker.services.bulk import BulkTrackService
from worker.services.errors import UnavailableError

BATCH = 1000
INTERRUPTED = 130
# The JSON summary lists so many invalid lines; standard error has all of them.
NAMED_IN_SUMMARY = 1000

_console = Console(stderr=True)


class _Line(BaseModel):
    """One line: the arguments of `payment_sessions.track`, which the service checks."""

    model_config = ConfigDict(extra="forbid")


_FIELDS: dict[str, Any] = dict.fromkeys(TRACK_ARGUMENTS, (Any, None))
_TRACK_LINE = create_model("_TrackLine", __base__=_Line, **_FIELDS)


@dataclass(slots=True)
class _Tally:
    """Counts of the lines so far."""

    lines: int = 0
    last_line: int = 0
    effects: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    bad_lines: list[dict[str, Any]] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the counts for --json."""
        return {
            "lines": self.lines,
            "created": self.effects[TrackEffect.CREATED],
            "corrected": self.effects[TrackEffect.NUDGED] + self.effects[TrackEffect.REOPENED],
            "known": self.effects[TrackEffect.UNCHANGED],
            "bad": self.bad,
            "bad_lines": self.bad_lines,
        }


def track_from(path: Path, *, as_json: bool) -> int:
    """Track every valid line, whatever the others are; return the exit code.

    The same list may be run again, for example after an interruption: stored lines stay as they
    are.
    """
    settings = load(Settings)
    tally = _Tally()
    try:
        _track_all(settings, path, tally)
    except JsonLinesError as error:
        fail(f"{error}{_kept(tally)}")
    except UnavailableError as error:
        fail(f"DATABASE_URL: {error}; run `session-worker check`.{_kept(tally)}")
    except KeyboardInterrupt:
        fail(f"Interrupted.{_kept(tally)}", code=INTERRUPTED)
    counts = tally.summary()
    if as_json:
        print_json(counts)
    else:
        say(
            f"{counted(counts['lines'], 'line')}: {counts['created']} new, "
            f"{counts['corrected']} updated, {counts['known']} unchanged, {counts['bad']} invalid."
        )
    return FAILED if tally.bad else 0


def _kept(tally: _Tally) -> str:
    if not tally.last_line:
        return ""
    return f" Valid lines up to {tally.last_line} are stored: run the same list again."


def _track_all(settings: Settings, path: Path, tally: _Tally) -> None:
    """Read the lines outside of the event loop, so that Ctrl-C ends a wait for input."""
    columns = (TextColumn("Tracking"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_opened(settings)) as service,
        Progress(*columns, console=_console, disable=not _console.is_terminal) as progress,
    ):
        bar = progress.add_task("Tracking", total=_count_lines(path))
        lines = each_line(path, _TRACK_LINE)
        while batch := list(islice(lines, BATCH)):
            _track_batch(portal, service, batch, path, tally)
            progress.update(bar, completed=tally.last_line)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[BulkTrackService]:
    engine = create_engine(settings.database_url.get_secret_value())
    try:
        yield BulkTrackService(
            PostgresBulkTracking(engine),
            base_urls={name: account.base_url for name, account in settings.accounts.items()},
            allowed_origins=settings.account_origins,
        )
    finally:
        await engine.dispose()


def _count_lines(path: Path) -> int | None:
    """Return the length of the progress bar; unknown for standard input."""
    if path == STANDARD_INPUT:
        return None
    try:
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    except OSError:
        return None  # each_line reports it


def _track_batch(
    portal: BlockingPortal,
    service: BulkTrackService,
    batch: Sequence[tuple[int, _Line | JsonLinesError]],
    path: Path,
    tally: _Tally,
) -> None:
    arguments = [dict(line) for _, line in batch if isinstance(line, _Line)]
    answers: Iterator[TrackEffect | TrackError] = iter(portal.call(service.track, arguments))
    for number, line in batch:
        answer = next(answers) if isinstance(line, _Line) else line
        if isinstance(answer, TrackError):
            answer = JsonLinesError(path, answer.problem, line=number, field=answer.field)
        if isinstance(answer, JsonLinesError):
            _report(answer, tally)
        else:
            tally.effects[answer] += 1
        tally.lines += 1
        tally.last_line = number


def _report(fault: JsonLinesError, tally: _Tally) -> None:
    tally.bad += 1
    if len(tally.bad_lines) < NAMED_IN_SUMMARY:
        tally.bad_lines.append({"line": fault.line, "field": fault.field, "reason": fault.reason})
    # Above the progress bar, if there is one.
    text = printable(str(fault))
    if _console.is_terminal:
        _console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        sys.stderr.write(f"{text}\n")
