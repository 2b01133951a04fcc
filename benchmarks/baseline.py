"""What a shop would write instead, on the same servers, beside the chain at its busiest."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.chain import BUSIEST
from benchmarks.environment import Scene, Stage
from benchmarks.figures import Figure
from benchmarks.load import Window, between, costs, follow, mark
from benchmarks.plan import Plan
from worker.adapters import clock

PROCESSES = 16
THREADS = 64
# Of 16, 32 and 100, its default, where it does best: the more at once, the more its client costs.
TASKS = ("--max-async-tasks", "32")
WARM_UP_SECONDS = 10.0
MEMORY = "memory of all workers"
TIMES_THE_POLLS = 12.0
SHARE_OF_THE_MEMORY = 1 / 3
# Read once when it began to be followed, as the rows say, and so often by the baseline.
POLLED_AGAIN = 3


@dataclass(frozen=True, slots=True)
class Baseline:
    """`sessions` are more than it can poll in time; `start` starts its processes."""

    name: str
    module: str
    sessions: int
    start: Callable[[Scene, str], None]


def _prefork(scene: Scene, module: str) -> None:
    arguments = ["--pool", "prefork", "--concurrency", str(PROCESSES)]
    scene.wait_until_ready(scene.celery(module, "worker", scene.environment(), arguments))


def _redbeat(scene: Scene, module: str) -> None:
    arguments = ["--pool", "threads", "--concurrency", str(THREADS)]
    scene.wait_until_ready(scene.celery(module, "worker", scene.environment(), arguments))
    scene.wait_until_ready(scene.celery(module, "beat", scene.environment()))


def _taskiq(scene: Scene, module: str) -> None:
    environment = scene.environment()
    worker = ["taskiq", "worker", f"{module}:broker", "--workers", "2", *TASKS]
    scheduler = ["taskiq", "scheduler", f"{module}:scheduler", "--update-interval", "1"]
    scene.wait_until_ready(scene.run("worker", worker, environment), "Listening started")
    scene.wait_until_ready(scene.run("beat", scheduler, environment), "Startup completed")


PREFORK = Baseline(
    *(f"(a) prefork, {PROCESSES} processes", "benchmarks.baselines.prefork", 600, _prefork)
)
BASELINES = (
    PREFORK,
    Baseline(f"(b) RedBeat, {THREADS} threads", "benchmarks.baselines.redbeat", 1600, _redbeat),
    Baseline("(c) taskiq, 2 processes", "benchmarks.baselines.asyncio_tasks", 1000, _taskiq),
)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Saturate each."""
    for baseline in BASELINES:
        yield from measure_baseline(stage, plan, baseline)


def measure_baseline(stage: Stage, plan: Plan, baseline: Baseline) -> Iterator[Figure]:
    """Saturate one."""
    with stage.scene(f"baseline {baseline.name}") as scene:
        windows = _saturate(scene, baseline, seconds=plan.window, windows=plan.windows)
    yield from costs("baseline", baseline.name, windows)


def compared(figures: Sequence[Figure]) -> Iterator[Figure]:
    """What the chain at its busiest is worth beside each, where both were measured."""
    measured = {figure.name: figure.median for figure in figures}
    for baseline in BASELINES:
        for what in ("polls", MEMORY, "CPU per poll"):
            ours = measured.get(f"chain: {what}, {BUSIEST.name}")
            theirs = measured.get(f"baseline: {what}, {baseline.name}")
            if ours is None or theirs is None:
                continue
            name = f"{what}: chain / baseline {baseline.name}"
            figure = Figure(name=name, unit="times", values=(ours / theirs,))
            yield _with_target(figure, what) if baseline is PREFORK else figure


def _with_target(figure: Figure, what: str) -> Figure:
    if what == "polls":
        return replace(figure, at_least=TIMES_THE_POLLS)
    return replace(figure, at_most=SHARE_OF_THE_MEMORY) if what == MEMORY else figure


def _saturate(scene: Scene, baseline: Baseline, *, seconds: float, windows: int) -> list[Window]:
    """Have it follow more than it can; returns what each window was like.

    Raises:
        RuntimeError: a process ended, or a session was not polled again and again.
    """
    baseline.start(scene, baseline.module)
    follow(scene, baseline.sessions, first=clock.now().timestamp(), rate=baseline.sessions)
    subprocess.run(  # noqa: S603 - the project's own
        [sys.executable, "-m", baseline.module], env=scene.environment(), check=True
    )
    # Processes start one by one, and repetitions come in waves until they have spread.
    time.sleep(WARM_UP_SECONDS)
    usage = scene.usage()
    marks = [mark(usage)]
    for _ in range(windows):
        time.sleep(seconds)
        marks.append(mark(usage))
    scene.check()
    arrivals = scene.arrivals()
    _check_polled(scene, len(arrivals))
    # When each was due is not told: only how many came.
    return [*between(marks, arrivals, dict.fromkeys((name for name, _ in arrivals), 0.0))]


def _check_polled(scene: Scene, requests: int) -> None:
    row = scene.connection.execute(
        "SELECT min(poll_count), sum(poll_count - 1) FROM payment_sessions"
    ).fetchone()
    assert row is not None  # noqa: S101 - told to the type checker
    least, written = row
    if least < POLLED_AGAIN or written < 0.9 * requests:
        raise RuntimeError(f"{requests} requests, {written} writes, a session of {least} polls")
