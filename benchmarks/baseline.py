"""What a shop would write instead, on the same servers, compared with the busiest chain."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.chain import BUSIEST
from benchmarks.environment import Deployment, Servers
from benchmarks.figures import Figure
from benchmarks.load import Window, between, costs, insert_sessions, mark
from benchmarks.plan import Plan
from devkit.processes import BIN
from worker.adapters import clock

PROCESSES = 16
THREADS = 64
# The fastest of 16, 32 and 100 (its default): with more at once its client costs more.
TASKS = ("--max-async-tasks", "32")
WARM_UP_SECONDS = 10.0
MEMORY = "memory of all workers"
TIMES_THE_POLLS = 12.0
SHARE_OF_THE_MEMORY = 1 / 3
# Read once at its tracking, as the rows say, and so often by the baseline.
POLLED_AGAIN = 3


@dataclass(frozen=True, slots=True)
class Baseline:
    """`sessions` are more than it can poll in time; `start` starts its processes."""

    name: str
    module: str
    sessions: int
    start: Callable[[Deployment, str], None]


def _prefork(deployment: Deployment, module: str) -> None:
    arguments = ["--pool", "prefork", "--concurrency", str(PROCESSES)]
    worker = deployment.celery(module, "worker", deployment.environment(), arguments)
    worker.wait_until_ready()


def _redbeat(deployment: Deployment, module: str) -> None:
    arguments = ["--pool", "threads", "--concurrency", str(THREADS)]
    worker = deployment.celery(module, "worker", deployment.environment(), arguments)
    worker.wait_until_ready()
    deployment.celery(module, "beat", deployment.environment()).wait_until_ready()


def _taskiq(deployment: Deployment, module: str) -> None:
    environment, taskiq = deployment.environment(), str(BIN / "taskiq")
    worker = [taskiq, "worker", f"{module}:broker", "--workers", "2", *TASKS]
    scheduler = [
        taskiq,
        "scheduler",
        f"{module}:scheduler",
        "--update-interval=1",
    ]
    deployment.run("worker", worker, environment, ready="Listening started").wait_until_ready()
    deployment.run("beat", scheduler, environment, ready="Startup completed").wait_until_ready()


PREFORK = Baseline(
    *(f"(a) prefork, {PROCESSES} processes", "benchmarks.baselines.prefork", 600, _prefork)
)
BASELINES = (
    PREFORK,
    Baseline(f"(b) RedBeat, {THREADS} threads", "benchmarks.baselines.redbeat", 1600, _redbeat),
    Baseline("(c) taskiq, 2 processes", "benchmarks.baselines.asyncio_tasks", 1000, _taskiq),
)


def measure(servers: Servers, plan: Plan) -> Iterator[Figure]:
    """Saturate each."""
    for baseline in BASELINES:
        yield from measure_baseline(servers, plan, baseline)


def measure_baseline(servers: Servers, plan: Plan, baseline: Baseline) -> Iterator[Figure]:
    """Saturate one."""
    with servers.deployment(f"baseline {baseline.name}") as deployment:
        windows = _saturate(deployment, baseline, seconds=plan.window, windows=plan.windows)
    yield from costs("baseline", baseline.name, windows)


def compared(figures: Sequence[Figure]) -> Iterator[Figure]:
    """Compare the busiest chain with each baseline, where both were measured."""
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


def _saturate(
    deployment: Deployment, baseline: Baseline, *, seconds: float, windows: int
) -> list[Window]:
    """Offer more than it can poll; return the windows.

    Raises:
        RuntimeError: a process ended, or a session was not polled repeatedly.
    """
    baseline.start(deployment, baseline.module)
    insert_sessions(
        deployment, baseline.sessions, first=clock.now().timestamp(), rate=baseline.sessions
    )
    subprocess.run(  # noqa: S603 - the project's own
        [sys.executable, "-m", baseline.module], env=deployment.environment(), check=True
    )
    # Processes start one by one, and repetitions come in waves until they have spread.
    time.sleep(WARM_UP_SECONDS)
    usage = deployment.usage()
    marks = [mark(usage)]
    for _ in range(windows):
        time.sleep(seconds)
        marks.append(mark(usage))
    deployment.check()
    arrivals = deployment.arrivals()
    _check_polled(deployment, len(arrivals))
    # Only how many came is known, not when each was due.
    return [*between(marks, arrivals, dict.fromkeys((name for name, _ in arrivals), 0.0))]


def _check_polled(deployment: Deployment, requests: int) -> None:
    row = deployment.connection.execute(
        "SELECT min(poll_count), sum(poll_count - 1) FROM payment_sessions"
    ).fetchone()
    assert row is not None  # noqa: S101 - for the type checker
    least, written = row
    if least < POLLED_AGAIN or written < 0.9 * requests:
        raise RuntimeError(f"{requests} requests, {written} writes, a session of {least} polls")
