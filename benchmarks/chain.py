"""The whole chain: due rows → beat → Redis → worker → HTTP → Postgres, task events on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.environment import Servers
from benchmarks.figures import Figure
from benchmarks.load import costs, drive
from benchmarks.plan import Plan

# More than two cores can poll.
SATURATION = 4000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """An offered load and its targets."""

    rate: float
    workers: int = 1
    delay: float = 0.1
    cpu_at_most: float | None = None
    rate_at_least: float | None = None

    @property
    def name(self) -> str:
        """As the table shows it."""
        rate = "saturation" if self.rate == SATURATION else f"{self.rate:g}/s"
        latency = "" if self.delay == 0.1 else f", responses take {1000 * self.delay:g} ms"  # noqa: PLR2004 - the usual
        return f"{rate}, {self.workers} worker{'s' * (self.workers > 1)}{latency}"


GUARDED = (Load(rate=1000, cpu_at_most=0.8), Load(rate=200, cpu_at_most=1.7))
BUSIEST = Load(rate=SATURATION, workers=2, cpu_at_most=0.75, rate_at_least=2200)
QUICK = (*GUARDED, BUSIEST)
LOADS = (
    *QUICK,
    Load(rate=200, workers=2),
    Load(rate=1000, workers=2),
    Load(rate=SATURATION),
    Load(rate=1000, delay=0.02),
    Load(rate=1000, delay=0.3),
)


def measure(servers: Servers, plan: Plan) -> Iterator[Figure]:
    """Measure every load."""
    for load in QUICK if plan.quick else LOADS:
        yield from measure_load(servers, plan, load)


def measure_load(servers: Servers, plan: Plan, load: Load) -> Iterator[Figure]:
    """Measure one."""
    with servers.deployment(f"chain, {load.name}", delay=load.delay) as deployment:
        deployment.start(workers=load.workers)
        windows = drive(
            *(deployment, load.rate),
            warm_up=plan.warm_up,
            seconds=plan.window,
            windows=plan.windows,
        )
    yield from costs(
        *("chain", load.name, windows),
        rate_at_least=load.rate_at_least,
        cpu_at_most=load.cpu_at_most,
    )
