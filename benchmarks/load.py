"""Tracked sessions that become due evenly, each once, and the cost of polling them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.environment import EXPIRES_AT, MOCK, UPDATED_AT, Deployment, report
from benchmarks.figures import Figure
from benchmarks.usage import Usage
from worker.adapters import clock

# The roles of a deployment: the whole chain without the mock Klarna server.
CHAIN = ("worker", "beat", "redis", "postgres")
SEEDED_A_SECOND = 30_000
# A wait that reports its progress.
LONG_SECONDS = 60.0

_SEED = """
    INSERT INTO payment_sessions (
        session_id, account, kind, session_url, status, status_updated_at, status_observed_at,
        expires_at, next_poll_at, ideal_interval_seconds, poll_count, transition_count,
        last_polled_at, last_read_at, tracked_at
    )
    SELECT
        id, 'default', 'hpp', %(url)s || id, 'WAITING', %(updated_at)s, %(updated_at)s,
        %(expires_at)s, to_timestamp(%(first)s + CASE WHEN n < %(count)s THEN n / %(rate)s::float
        ELSE %(count)s / %(rate)s::float + 2400.0 * (n - %(count)s) / %(background)s END),
        2400, 1, 1,
        now() - interval '40 minutes', now() - interval '40 minutes', %(updated_at)s
    FROM generate_series(0, %(count)s + %(background)s - 1) AS n,
        LATERAL (SELECT %(prefix)s || md5(n::text || %(first)s::text)::uuid AS id) AS named
    -- In no order of time, as the rows of a table that has been in use.
    ORDER BY id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some seconds of load.

    `cpu` is seconds by role, `memory` the MiB of all workers at its end, `lags` the seconds from
    due time to request.
    """

    seconds: float
    cpu: dict[str, float]
    memory: float
    lags: list[float]

    @property
    def rate(self) -> float:
        """Polls a second."""
        return len(self.lags) / self.seconds

    def cpu_ms(self, *roles: str) -> float:
        """CPU milliseconds per poll, of these roles together."""
        return 1000 * sum(self.cpu[role] for role in roles) / max(len(self.lags), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment, and what had been used by then."""

    at: float
    cpu: dict[str, float]
    memory: float


def mark(usage: Usage) -> Mark:
    """Return the usage so far."""
    return Mark(at=_time(), cpu=usage.cpu_seconds(), memory=usage.together("worker"))


def insert_sessions(
    deployment: Deployment,
    count: int,
    *,
    first: float,
    rate: float,
    prefix: str = "",
    background: int = 0,
) -> None:
    """Insert `count` tracked sessions: `rate` a second from `first` (seconds since the epoch) on.

    With them, in no order, `background` others: due over the 40 minutes after the last of them.
    """
    deployment.connection.execute(
        _SEED,
        {
            "url": f"{deployment.klarna_url}/hpp/v1/sessions/",
            "updated_at": UPDATED_AT,
            "expires_at": EXPIRES_AT,
            "first": first,
            "rate": rate,
            "count": count,
            "prefix": prefix,
            "background": background,
        },
    )
    # Otherwise autovacuum and a checkpoint run during some measurements and not during others.
    deployment.connection.execute("VACUUM ANALYZE payment_sessions")
    deployment.connection.execute("CHECKPOINT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """When the sessions become due, and how long to measure."""

    first: float
    due: dict[str, float]
    warm_up: float
    seconds: float
    windows: int


def offer(
    deployment: Deployment,
    rate: float,
    *,
    warm_up: float,
    seconds: float,
    windows: int = 1,
    background: int = 0,
) -> Offer:
    """Insert sessions that become due soon, `rate` a second.

    Raises:
        RuntimeError: the rows were written too late.
    """
    count = int(rate * (warm_up + seconds * windows))
    # Time for the rows to be written before the first is due.
    first = _time() + 4 + (count + background) / SEEDED_A_SECOND
    insert_sessions(deployment, count, first=first, rate=rate, background=background)
    if _time() > first:
        raise RuntimeError(f"rows were written {_time() - first:.0f} s too late")
    last = first + count / rate
    rows = deployment.connection.execute(_DUE, [first, last]).fetchall()
    return Offer(first=first, due=dict(rows), warm_up=warm_up, seconds=seconds, windows=windows)


def watch(deployment: Deployment, offered: Offer) -> list[Window]:
    """Measure the load; return its windows.

    Raises:
        RuntimeError: a process ended.
    """
    usage, began = deployment.usage(), offered.first + offered.warm_up
    marks = []
    for window in range(offered.windows + 1):
        _sleep_until(began + offered.seconds * window)
        marks.append(mark(usage))
    deployment.check()
    return [*between(marks, deployment.arrivals(), offered.due)]


def drive(
    deployment: Deployment, rate: float, *, warm_up: float, seconds: float, windows: int = 1
) -> list[Window]:
    """Let sessions become due at `rate` a second; return the windows."""
    return watch(
        deployment, offer(deployment, rate, warm_up=warm_up, seconds=seconds, windows=windows)
    )


def between(
    marks: list[Mark], arrivals: list[tuple[str, float]], due: dict[str, float]
) -> Iterator[Window]:
    """Return the windows between the marks; requests that are not in `due` do not count."""
    for before, after in pairwise(marks):
        yield Window(
            seconds=after.at - before.at,
            cpu={role: after.cpu[role] - before.cpu[role] for role in after.cpu},
            memory=after.memory,
            lags=[
                at - due[name]
                for name, at in arrivals
                if name in due and before.at <= at < after.at
            ],
        )


def costs(
    topic: str,
    load: str,
    windows: list[Window],
    *,
    rate_at_least: float | None = None,
    cpu_at_most: float | None = None,
) -> Iterator[Figure]:
    """Return the cost of a load: polls a second, CPU per poll and by role, the workers' memory."""
    rates = tuple(window.rate for window in windows)
    yield Figure(name=f"{topic}: polls, {load}", unit="/s", values=rates, at_least=rate_at_least)
    roles = [role for role in (*CHAIN, MOCK) if role in windows[0].cpu]
    yield Figure(
        name=f"{topic}: CPU per poll, {load}",
        unit="ms",
        values=tuple(window.cpu_ms(*roles[:-1]) for window in windows),
        at_most=cpu_at_most,
    )
    for role in roles:
        yield Figure(
            name=f"{topic}: CPU of {role}, {load}",
            unit="ms",
            values=tuple(window.cpu_ms(role) for window in windows),
        )
    yield Figure(
        name=f"{topic}: memory of all workers, {load}",
        unit="MiB",
        values=tuple(window.memory for window in windows),
    )


_DUE = """
    SELECT session_id, EXTRACT(epoch FROM next_poll_at)::float
    FROM payment_sessions WHERE next_poll_at >= to_timestamp(%s) AND next_poll_at < to_timestamp(%s)
"""


def _sleep_until(at: float) -> None:
    while (left := at - _time()) > LONG_SECONDS:
        report(f"  {left:.0f} s to go")
        time.sleep(LONG_SECONDS)
    time.sleep(max(0.0, left))


def _time() -> float:
    return clock.now().timestamp()
