"""Payment sessions replayed read by read against a schedule; counts reads and measures delays."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from devkit.simulation.traces import Trace, is_final
from worker.domain.session import AUTHORIZATION_LIFETIME

CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)
SEED = 1


@dataclass(frozen=True, slots=True)
class Read:
    """What a schedule knows when it says when the next read is."""

    status: str
    since: datetime
    now: datetime
    final_read_at: datetime
    # The reads of this session up to now, and a number from [0, 1).
    reads: int
    jitter: float


Schedule = Callable[[Read], datetime]


@dataclass(frozen=True, slots=True)
class Replay:
    """What a schedule made of many traces: reads, and the delays of the completions in seconds."""

    sessions: int
    requests: int
    delays: Sequence[float]
    # Seen when their token had died, or not at all.
    never_seen: int

    @property
    def requests_per_session(self) -> float:
        """The first read, when tracking begins, and the last, after the expiry, are counted."""
        return self.requests / self.sessions

    @property
    def never_seen_share(self) -> float:
        """The share of the completions that nobody saw while their token was good."""
        return self.never_seen / len(self.delays) if self.delays else 0.0

    @property
    def mean_delay(self) -> float | None:
        """In seconds, of the completions; None where there is none."""
        return sum(self.delays) / len(self.delays) if self.delays else None

    def percentile(self, percent: float) -> float | None:
        """The delay (seconds) that so many per cent of the completions do not exceed."""
        if not self.delays:
            return None
        return self.delays[round((len(self.delays) - 1) * percent / 100)]

    def within(self, seconds: float) -> float | None:
        """The share of completions that were seen within `seconds`."""
        if not self.delays:
            return None
        return sum(delay <= seconds for delay in self.delays) / len(self.delays)


def replay(
    traces: Iterable[Trace],
    schedule: Schedule,
    *,
    grace: timedelta = timedelta(seconds=30),
    seed: int = SEED,
) -> Replay:
    """Return what the schedule makes of the traces; the same for the same seed.

    A session is first read when it is created, and last at its expiry plus `grace`.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    sessions = requests = 0
    delays: list[float] = []
    for trace in traces:
        reads, delay = _follow(trace, schedule, grace=grace, chance=chance)
        sessions += 1
        requests += reads
        if delay is not None:
            delays.append(delay)
    delays.sort()
    dead = AUTHORIZATION_LIFETIME.total_seconds()
    return Replay(sessions, requests, delays, sum(delay >= dead for delay in delays))


def _follow(
    trace: Trace, schedule: Schedule, *, grace: timedelta, chance: random.Random
) -> tuple[int, float | None]:
    """The number of reads, and the seconds from the final status to the read that saw it."""
    changes = [(CREATED_AT + timedelta(seconds=at), status) for at, status in trace.statuses]
    final_read_at = CREATED_AT + timedelta(seconds=trace.lifetime) + grace
    now, reads, seen, last = CREATED_AT, 0, 0, len(changes) - 1
    while True:
        reads += 1
        while seen < last and changes[seen + 1][0] <= now:
            seen += 1
        since, status = changes[seen]
        if seen == last and is_final(status):
            return reads, (now - since).total_seconds()
        if now >= final_read_at:
            return reads, None
        now = schedule(Read(status, since, now, final_read_at, reads, chance.random()))
