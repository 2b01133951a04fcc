"""Whether a poll takes more CPU than before, relative to baseline (a) in the same run.

Ratios are stored, because a slower machine is slower for both.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.baseline import PREFORK, measure_baseline
from benchmarks.chain import GUARDED, measure_load
from benchmarks.environment import Servers
from benchmarks.figures import Figure
from benchmarks.plan import Plan

RATIOS = Path(__file__).with_name("ratios.json")
MAY_GROW = 1.25
WHAT = "CPU per poll"

# By load.
Ratios = dict[str, float]


def measure(servers: Servers, plan: Plan) -> Iterator[Figure]:
    """Measure the loads of the stored ratios, and the baseline."""
    for load in GUARDED:
        yield from measure_load(servers, plan, load)
    yield from measure_baseline(servers, plan, PREFORK)


def ratios(figures: Sequence[Figure]) -> Ratios:
    """Return the CPU of a poll divided by the baseline's, by load; none where one is missing."""
    measured = {figure.name: figure.median for figure in figures}
    beside = measured.get(f"baseline: {WHAT}, {PREFORK.name}")
    ours = {load.name: measured.get(f"chain: {WHAT}, {load.name}") for load in GUARDED}
    return {load: cpu / beside for load, cpu in ours.items() if cpu and beside}


def grown(now: Mapping[str, float], then: Mapping[str, float]) -> Ratios:
    """Return the growth since the stored ratios, by load, where it is too much."""
    times = {load: ratio / then[load] for load, ratio in now.items()}
    return {load: growth for load, growth in times.items() if growth > MAY_GROW}


def middle(rounds: Sequence[Mapping[str, float]]) -> Ratios:
    """Return the medians of some rounds, by load."""
    return {load: statistics.median(each[load] for each in rounds) for load in rounds[0]}


def stored() -> Ratios:
    """Return the committed ratios."""
    committed: Ratios = json.loads(RATIOS.read_text())
    return committed


def store(rounds: Sequence[Mapping[str, float]]) -> None:
    """Write the medians of these rounds, for a commit."""
    rounded = {load: round(ratio, 3) for load, ratio in middle(rounds).items()}
    RATIOS.write_text(json.dumps(rounded, indent=2) + "\n")
