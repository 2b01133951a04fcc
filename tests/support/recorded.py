"""Payment sessions as a worker records them: traces, read by a schedule."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import psycopg

from devkit.simulation.replay import CREATED_AT, Read, Schedule
from devkit.simulation.traces import Trace, is_final
from worker.adapters import clock

_SESSION_COLUMNS = (
    "session_id, account, kind, session_url, tracked_at, status, status_updated_at,"
    " status_observed_at, expires_at, outcome, finished_at, next_poll_at, last_read_at,"
    " transition_count"
)
_TRANSITION_COLUMNS = (
    "session_id, sequence, from_status, to_status, occurred_at, observed_at, previous_read_at"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One transition, in seconds since the session was created."""

    status: str
    occurred: float
    observed: float
    previous_read: float | None


@dataclass(frozen=True, slots=True)
class Story:
    """What a schedule saw of one trace."""

    trace: Trace
    seen: list[Seen]
    last_read: float


def stories_of(
    traces: Iterable[Trace], schedule: Schedule, *, timed: bool = True, late_by: float = 0
) -> Iterator[Story]:
    """Read each trace by the schedule from `late_by` seconds on; `timed`: with Klarna's times."""
    chance = random.Random(1)  # noqa: S311 - a simulation
    for trace in traces:
        yield _story(trace, schedule, chance, timed=timed, late_by=late_by)


def record(database_url: str, stories: Iterable[Story], *, copies: int = 1) -> None:
    """Store the stories, each so many times, as sessions that ended in the last weeks."""
    known = list(stories)
    base = clock.now() - timedelta(days=25)
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY payment_sessions ({_SESSION_COLUMNS}) FROM STDIN") as copy:
            for number, began, story in _copies(known, copies, base):
                copy.write_row(_session(number, began, story))
        with cursor.copy(f"COPY status_transitions ({_TRANSITION_COLUMNS}) FROM STDIN") as copy:
            for number, began, story in _copies(known, copies, base):
                for row in _transitions(number, began, story):
                    copy.write_row(row)


def _story(
    trace: Trace, schedule: Schedule, chance: random.Random, *, timed: bool, late_by: float
) -> Story:
    changes = [(CREATED_AT + timedelta(seconds=at), status) for at, status in trace.statuses]
    final_read_at = CREATED_AT + timedelta(seconds=trace.lifetime + 30)
    now, reads, place = CREATED_AT + timedelta(seconds=late_by), 0, 0
    seen: list[Seen] = []
    previous: float | None = None
    while True:
        reads += 1
        while place + 1 < len(changes) and changes[place + 1][0] <= now:
            place += 1
        began, status = changes[place]
        if not seen or seen[-1].status != status:
            seen.append(Seen(status, _age(began if timed else now), _age(now), previous))
        previous = _age(now)
        if is_final(status) or now >= final_read_at:
            return Story(trace, seen, previous)
        since = CREATED_AT + timedelta(seconds=seen[-1].occurred)
        now = schedule(Read(status, since, now, final_read_at, reads, chance.random()))


def _age(moment: datetime) -> float:
    return (moment - CREATED_AT).total_seconds()


def _copies(
    stories: list[Story], copies: int, base: datetime
) -> Iterator[tuple[UUID, datetime, Story]]:
    chance = random.Random(2)  # noqa: S311 - a simulation
    for _ in range(copies):
        for story in stories:
            began = base + timedelta(seconds=chance.uniform(0, 20 * 86_400))
            yield UUID(int=chance.getrandbits(128)), began, story


def _session(number: UUID, began: datetime, story: Story) -> tuple[object, ...]:
    last, read = story.seen[-1], began + timedelta(seconds=story.last_read)
    return (
        *(str(number), "default", "hpp", f"https://klarna.test/{number}"),
        began + timedelta(seconds=story.seen[0].observed),
        *(last.status, began + timedelta(seconds=last.occurred)),
        began + timedelta(seconds=last.observed),
        began + timedelta(seconds=story.trace.lifetime),
        *("completed" if is_final(last.status) else "expired", read, None, read),
        len(story.seen),
    )


def _transitions(number: UUID, began: datetime, story: Story) -> Iterator[tuple[object, ...]]:
    before = None
    for sequence, seen in enumerate(story.seen, start=1):
        previous = seen.previous_read
        yield (
            *(str(number), sequence, before, seen.status),
            *(began + timedelta(seconds=at) for at in (seen.occurred, seen.observed)),
            None if previous is None else began + timedelta(seconds=previous),
        )
        before = seen.status
