"""From a session's due time to its request being there, by the clock of the one machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.environment import Stage
from benchmarks.figures import Figure, percentile
from benchmarks.load import Window, drive
from benchmarks.plan import Plan

# By polls a second: percentiles and the milliseconds asked for.
TARGETS: dict[float, dict[float, float]] = {50: {}, 200: {50: 100, 99: 400}, 1000: {99: 600}}
PERCENTILES = {50.0: "p50", 95.0: "p95", 99.0: "p99", 100.0: "max"}


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Drive each rate, with one worker; the percentiles of each run."""
    for rate, targets in TARGETS.items():
        with stage.scene(f"lag, {rate:g}/s") as scene:
            scene.start(workers=1)
            windows = drive(
                *(scene, rate),
                warm_up=plan.warm_up,
                seconds=plan.lag_seconds / plan.windows,
                windows=plan.windows,
            )
        yield from lags(f"lag: {{}} at {rate:g}/s", windows, targets)


def lags(name: str, windows: list[Window], targets: Mapping[float, float]) -> Iterator[Figure]:
    """Return the percentiles of each window; `name` has a place for theirs."""
    for percent, shown in PERCENTILES.items():
        yield Figure(
            name=name.format(shown),
            unit="ms",
            values=tuple(1000 * percentile(window.lags, percent) for window in windows),
            at_most=targets.get(percent),
        )
