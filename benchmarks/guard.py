"""Whether a poll has become dearer: CPU per poll beside baseline (a)'s, measured in the same run.

Compared with ratios that are stored: machines differ, and what is dear on one is on both sides.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path

from benchmarks.baseline import PREFORK, saturate
from benchmarks.load import CHAIN, Window, drive
from benchmarks.plan import Plan
from benchmarks.stage import Stage

RATIOS = Path(__file__).with_name("ratios.json")
RATES = (1000, 200)
MAY_GROW = 1.25

Ratios = dict[str, float]


def measure(stage: Stage, plan: Plan) -> Ratios:
    """Answer the ratios of now, by load; the medians of some seconds each."""
    times = {"seconds": plan.window, "windows": plan.windows}
    with stage.scene() as scene:
        scene.start(workers=1)
        chain = {rate: drive(scene, rate, warm_up=plan.warm_up, **times) for rate in RATES}
    with stage.scene() as scene:
        prefork = _cpu(saturate(scene, PREFORK, **times))
    return {f"{rate}/s": round(_cpu(windows) / prefork, 4) for rate, windows in chain.items()}


def grown(stored: Mapping[str, float], measured: Mapping[str, float]) -> Ratios:
    """Answer by load how many times the stored ratio the measured one is, where that is too many.

    Raises:
        KeyError: nothing is stored for a load.
    """
    times = {load: ratio / stored[load] for load, ratio in measured.items()}
    return {load: growth for load, growth in times.items() if growth > MAY_GROW}


def stored() -> Ratios:
    """Answer the committed ratios."""
    ratios: Ratios = json.loads(RATIOS.read_text())
    return ratios


def store(ratios: Ratios) -> None:
    """Write them for a commit."""
    RATIOS.write_text(json.dumps(ratios, indent=2) + "\n")


def _cpu(windows: list[Window]) -> float:
    roles = [role for role in CHAIN if role in windows[0].cpu]
    return statistics.median(window.cpu_ms(*roles) for window in windows)
