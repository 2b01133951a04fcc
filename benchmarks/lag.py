"""From a session's due time to its request being there, by the clock of the one machine."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, percentile
from benchmarks.load import drive
from benchmarks.plan import Plan
from benchmarks.stage import Stage

# By polls a second: percentiles and the milliseconds asked for.
TARGETS: dict[float, dict[float, float]] = {50: {}, 200: {50: 100, 99: 400}, 1000: {99: 600}}
PERCENTILES = {50.0: "p50", 95.0: "p95", 99.0: "p99", 100.0: "max"}


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Drive each rate once, with one worker."""
    for rate, targets in TARGETS.items():
        with stage.scene() as scene:
            scene.start(workers=1)
            (window,) = drive(scene, rate, warm_up=plan.warm_up, seconds=plan.lag_seconds)
        for percent, name in PERCENTILES.items():
            yield Figure(
                name=f"lag: {name} of {plan.lag_seconds:g} s at {rate:g}/s",
                unit="ms",
                values=(1000 * percentile(window.lags, percent),),
                at_most=targets.get(percent),
            )
