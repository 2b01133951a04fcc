"""Time from a session's due time to the arrival of its request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.environment import Servers
from benchmarks.figures import Figure, percentile
from benchmarks.load import Window, drive
from benchmarks.plan import Plan

# By polls a second: percentiles and their targets in milliseconds.
TARGETS: dict[float, dict[float, float]] = {50: {}, 200: {50: 100, 99: 400}, 1000: {99: 600}}
PERCENTILES = {50.0: "p50", 95.0: "p95", 99.0: "p99", 100.0: "max"}


def measure(servers: Servers, plan: Plan) -> Iterator[Figure]:
    """Measure each rate, with one worker: the percentiles of each run."""
    for rate, targets in TARGETS.items():
        with servers.deployment(f"lag, {rate:g}/s") as deployment:
            deployment.start(workers=1)
            windows = drive(
                *(deployment, rate),
                warm_up=plan.warm_up,
                seconds=plan.lag_seconds / plan.windows,
                windows=plan.windows,
            )
        yield from lags(f"lag: {{}} at {rate:g}/s", windows, targets)


def lags(name: str, windows: list[Window], targets: Mapping[float, float]) -> Iterator[Figure]:
    """Return the percentiles of each window; `name` has a placeholder for theirs."""
    for percent, shown in PERCENTILES.items():
        yield Figure(
            name=name.format(shown),
            unit="ms",
            values=tuple(1000 * percentile(window.lags, percent) for window in windows),
            at_most=targets.get(percent),
        )
