"""Followed sessions that fall due evenly, each once, and what reading them took and cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.stage import EXPIRES_AT, UPDATED_AT, Scene
from worker.adapters import clock

# Of the whole chain without the stand-in; the roles that a deployment has.
CHAIN = ("worker", "beat", "redis", "postgres")

_SEED = """
    INSERT INTO payment_sessions (
        session_id, account, kind, session_url, status, status_updated_at, status_observed_at,
        expires_at, next_poll_at, ideal_interval_seconds, poll_count, transition_count,
        last_polled_at, last_read_at, tracked_at
    )
    SELECT
        id, 'default', 'hpp', %(url)s || id, 'WAITING', %(updated_at)s, %(updated_at)s,
        %(expires_at)s, to_timestamp(%(first)s + n / %(rate)s::float), 2400, 1, 1,
        now() - interval '40 minutes', now() - interval '40 minutes', %(updated_at)s
    FROM generate_series(0, %(count)s - 1) AS n,
        LATERAL (SELECT %(prefix)s || md5(n::text || %(first)s::text)::uuid AS id) AS named
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some seconds of load: CPU seconds by role, and the lag of each request in seconds."""

    seconds: float
    cpu: dict[str, float]
    lags: list[float]

    @property
    def rate(self) -> float:
        """Polls a second."""
        return len(self.lags) / self.seconds

    def cpu_ms(self, *roles: str) -> float:
        """CPU milliseconds per poll, of these roles together."""
        return 1000 * sum(self.cpu[role] for role in roles) / max(len(self.lags), 1)


def follow(scene: Scene, count: int, *, first: float, rate: float, prefix: str = "") -> None:
    """Have `count` sessions followed: due at `first` (seconds since the epoch), `rate` a second."""
    scene.connection.execute(
        _SEED,
        {
            "url": f"{scene.klarna_url}/hpp/v1/sessions/",
            "updated_at": UPDATED_AT,
            "expires_at": EXPIRES_AT,
            "first": first,
            "rate": rate,
            "count": count,
            "prefix": prefix,
        },
    )
    scene.connection.execute("ANALYZE payment_sessions")


def drive(
    scene: Scene, rate: float, *, warm_up: float, seconds: float, windows: int = 1
) -> list[Window]:
    """Let sessions fall due at `rate` a second; answers what each window of it was like.

    Raises:
        RuntimeError: a process ended.
    """
    # Time for the rows to be written before the first is due.
    count = int(rate * (warm_up + seconds * windows))
    first = _time() + 2 + count / 10_000
    follow(scene, count, first=first, rate=rate)
    due = dict(scene.connection.execute(_DUE, [first]).fetchall())
    usage = scene.usage()
    _sleep_until(first + warm_up)
    marks = [(_time(), usage.cpu_seconds())]
    for window in range(windows):
        _sleep_until(first + warm_up + seconds * (window + 1))
        marks.append((_time(), usage.cpu_seconds()))
    scene.check()
    arrivals = scene.arrivals()
    return [_window(arrivals, due, before, after) for before, after in pairwise(marks)]


_DUE = """
    SELECT session_id, EXTRACT(epoch FROM next_poll_at)::float
    FROM payment_sessions WHERE next_poll_at >= to_timestamp(%s)
"""

Mark = tuple[float, dict[str, float]]


def _window(
    arrivals: list[tuple[str, float]], due: dict[str, float], before: Mark, after: Mark
) -> Window:
    (began, cpu_before), (ended, cpu_after) = before, after
    lags = [at - due[name] for name, at in arrivals if name in due and began <= at < ended]
    cpu = {role: cpu_after[role] - cpu_before[role] for role in cpu_after}
    return Window(seconds=ended - began, cpu=cpu, lags=lags)


def _sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - _time()))


def _time() -> float:
    return clock.now().timestamp()
