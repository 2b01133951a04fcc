"""Resident memory of worker and beat: idle, at full load, and whether it grows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from threading import Event, Thread
from typing import Self

from benchmarks.chain import SATURATION
from benchmarks.environment import Servers
from benchmarks.figures import Figure
from benchmarks.load import drive
from benchmarks.plan import Plan
from benchmarks.usage import Usage
from worker.adapters import clock

TARGETS = {"worker": 170.0, "beat": 90.0}
IDLE_SECONDS = 5.0
FULL_SECONDS = 10.0
SLOPE_RATE = 200.0
SLOPE_AT_MOST = 5.0
# The target is for a run of this length; a shorter one is not compared with it.
SLOPE_MINUTES = 30.0
SAMPLE_SECONDS = 1.0

Sample = tuple[float, dict[str, float]]


def measure(servers: Servers, plan: Plan) -> Iterator[Figure]:
    """Measure one worker and one beat, once."""
    with servers.deployment("memory, idle and at full load") as deployment:
        deployment.start(workers=1)
        usage = deployment.usage()
        time.sleep(IDLE_SECONDS)
        idle = usage.resident()
        drive(deployment, SATURATION, warm_up=0, seconds=FULL_SECONDS)
        full, peak = usage.resident(), usage.peak()
    for role, target in TARGETS.items():
        yield Figure(name=f"memory: {role}, idle", unit="MiB", values=(idle[role],))
        name = f"memory: {role}, at full load"
        yield Figure(name=name, unit="MiB", values=(full[role],), at_most=target)
        yield Figure(name=f"memory: {role}, peak", unit="MiB", values=(peak[role],))
    minutes = plan.memory_minutes
    with servers.deployment(f"memory for {minutes:g} min") as deployment:
        deployment.start(workers=1)
        with Samples(deployment.usage()) as samples:
            (window,) = drive(deployment, SLOPE_RATE, warm_up=0, seconds=60 * minutes)
    yield Figure(name=f"memory: polls, 200/s for {minutes:g} min", unit="/s", values=(window.rate,))
    for role in TARGETS:
        yield Figure(
            name=f"memory: {role}, slope in the last two thirds of {minutes:g} min at 200/s",
            unit="MiB/h",
            values=(slope(samples.taken, role, seconds=40 * minutes),),
            at_most=SLOPE_AT_MOST if minutes >= SLOPE_MINUTES else None,
        )


class Samples:
    """A context manager that takes a sample a second."""

    def __init__(self, usage: Usage) -> None:
        self.taken: list[Sample] = []
        self._usage = usage
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.taken.append((clock.monotonic(), self._usage.resident()))


def slope(samples: Sequence[Sample], role: str, *, seconds: float) -> float:
    """Return MiB per hour by least squares, over the last `seconds`."""
    late = [(at, sizes) for at, sizes in samples if at >= samples[-1][0] - seconds]
    hours = [(at - late[0][0]) / 3600 for at, _ in late]
    return statistics.linear_regression(hours, [sizes[role] for _, sizes in late]).slope
