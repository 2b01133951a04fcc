"""The whole chain: due rows → beat → Redis → worker → HTTP → Postgres, task events on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.load import CHAIN, Window, drive
from benchmarks.plan import Plan
from benchmarks.stage import Stage

ROLES = (*CHAIN, "stand-in")
# More than two cores do: what is offered is not what is read.
SATURATION = 4000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is offered, and the targets that the issue sets for it."""

    rate: float
    workers: int = 1
    delay: float = 0.1
    cpu_at_most: float | None = None
    rate_at_least: float | None = None

    @property
    def name(self) -> str:
        """As the table shows it."""
        rate = "saturation" if self.rate == SATURATION else f"{self.rate:g}/s"
        answers = "" if self.delay == 0.1 else f", answers take {1000 * self.delay:g} ms"  # noqa: PLR2004 - the usual
        return f"{rate}, {self.workers} worker{'s' * (self.workers > 1)}{answers}"


BUSIEST = Load(rate=SATURATION, workers=2, cpu_at_most=0.75, rate_at_least=2200)
QUICK = (Load(rate=200, cpu_at_most=1.7), Load(rate=1000, cpu_at_most=0.8), BUSIEST)
LOADS = (
    *QUICK,
    Load(rate=200, workers=2),
    Load(rate=1000, workers=2),
    Load(rate=SATURATION),
    Load(rate=1000, delay=0.02),
    Load(rate=1000, delay=0.3),
)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Drive every load."""
    for load in QUICK if plan.quick else LOADS:
        with stage.scene(delay=load.delay) as scene:
            scene.start(workers=load.workers)
            windows = drive(
                *(scene, load.rate),
                warm_up=plan.warm_up,
                seconds=plan.window,
                windows=plan.windows,
            )
            together = scene.usage().together("worker")
        yield from _figures(load, windows)
        if load is BUSIEST:
            yield Figure(
                name=f"chain: memory together, {load.name}",
                unit="MiB",
                values=(together,),
            )


def _figures(load: Load, windows: list[Window]) -> Iterator[Figure]:
    yield Figure(
        name=f"chain: polls, {load.name}",
        unit="/s",
        values=tuple(window.rate for window in windows),
        at_least=load.rate_at_least,
    )
    yield Figure(
        name=f"chain: CPU per poll, {load.name}",
        unit="ms",
        values=tuple(window.cpu_ms(*CHAIN) for window in windows),
        at_most=load.cpu_at_most,
    )
    for role in ROLES:
        yield Figure(
            name=f"chain: of it {role}" if role in CHAIN else f"chain: beside it {role}",
            unit="ms",
            values=tuple(window.cpu_ms(role) for window in windows),
        )
