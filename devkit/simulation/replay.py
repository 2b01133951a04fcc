"""Replays payment sessions read by read by a schedule; counts reads and measures delays."""

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
    """What a schedule knows when it decides on the next read."""

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
    """The result of a schedule on many traces: reads, and the delays of completions in seconds."""

    sessions: int
    requests: int
    delays: Sequence[float]
    # Seen after their token had expired, or not at all.
    never_seen: int

    @property
    def requests_per_session(self) -> float:
        """Requests per session, with the first read at tracking and the last after the expiry."""
        return self.requests / self.sessions

    @property
    def never_seen_share(self) -> float:
        """The share of completions that were not seen before their token expired."""
        return self.never_seen / len(self.delays) if self.delays else 0.0

    @property
    def mean_delay(self) -> float | None:
        """Mean delay of the completions in seconds; None if there are none."""
        return sum(self.delays) / len(self.delays) if self.delays else None

    def percentile(self, percent: float) -> float | None:
        """Return a percentile of the delays, in seconds."""
        if not self.delays:
            return None
        return self.delays[round((len(self.delays) - 1) * percent / 100)]

    def within(self, seconds: float) -> float | None:
        """Return the share of completions that were seen within `seconds`."""
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
    """Replay the traces by the schedule; the result is the same for the same seed.

    A session is first read when it is created, and last at its expiry plus `grace`.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    sessions = requests = 0
    delays: list[float] = []
    for trace in traces:
        reads, delay = _replay_one(trace, schedule, grace=grace, chance=chance)
        sessions += 1
        requests += reads
        if delay is not None:
            delays.append(delay)
    delays.sort()
    expired = AUTHORIZATION_LIFETIME.total_seconds()
    return Replay(sessions, requests, delays, sum(delay >= expired for delay in delays))


def _replay_one(
    trace: Trace, schedule: Schedule, *, grace: timedelta, chance: random.Random
) -> tuple[int, float | None]:
    """Return the number of reads, and the seconds from the final status to the read that saw it."""
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
