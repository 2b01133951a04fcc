"""What a shop would write instead, on the same servers, beside the chain at its busiest."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.chain import BUSIEST
from benchmarks.figures import Figure
from benchmarks.load import CHAIN, Window, follow
from benchmarks.plan import Plan
from benchmarks.stage import Scene, Stage
from worker.adapters import clock

PROCESSES = 16
# With an answer of 100 ms and a countdown of 2 s, more than 16 processes can do.
SESSIONS = 600
WARM_UP_SECONDS = 10.0
NAME = f"baseline: prefork with {PROCESSES} processes"
TIMES_THE_POLLS = 12.0
SHARE_OF_THE_MEMORY = 1 / 3


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Saturate the prefork task that sends itself again."""
    with stage.scene() as scene:
        windows, together = prefork(scene, plan)
    roles = [role for role in CHAIN if role != "beat"]
    yield Figure(name=f"{NAME}, polls", unit="/s", values=tuple(each.rate for each in windows))
    yield Figure(
        name=f"{NAME}, CPU per poll",
        unit="ms",
        values=tuple(each.cpu_ms(*roles) for each in windows),
    )
    yield Figure(name=f"{NAME}, memory together", unit="MiB", values=(together,))


def compared(figures: Sequence[Figure]) -> Iterator[Figure]:
    """What the chain at its busiest is worth beside it, where both were measured."""
    measured = {figure.name: figure.median for figure in figures}

    def times(what: str) -> Figure | None:
        ours, theirs = f"chain: {what}, {BUSIEST.name}", f"{NAME}, {what}"
        if ours not in measured or theirs not in measured:
            return None
        value = measured[ours] / measured[theirs]
        return Figure(name=f"{what}: chain / prefork", unit="times", values=(value,))

    if polls := times("polls"):
        yield replace(polls, at_least=TIMES_THE_POLLS)
    if memory := times("memory together"):
        yield replace(memory, at_most=SHARE_OF_THE_MEMORY)
    if cpu := times("CPU per poll"):
        yield cpu


def prefork(scene: Scene, plan: Plan) -> tuple[list[Window], float]:
    """Answer what its load was like, and the MiB of all its processes."""
    app = "benchmarks.baselines.prefork"
    arguments = ["--pool", "prefork", "--concurrency", str(PROCESSES)]
    log = scene.celery(app, "worker", scene.environment(), arguments)
    scene.wait_until_ready(log)
    follow(scene, SESSIONS, first=clock.now().timestamp(), rate=SESSIONS)
    _send(scene)
    # Its processes start one by one, and its countdowns come in waves until they have spread.
    time.sleep(WARM_UP_SECONDS)
    usage, windows = scene.usage(), []
    scene.arrivals()
    for _ in range(plan.windows):
        began, before = time.perf_counter(), usage.cpu_seconds()
        time.sleep(plan.window)
        seconds, after = time.perf_counter() - began, usage.cpu_seconds()
        cpu = {role: after[role] - before[role] for role in after}
        windows.append(Window(seconds=seconds, cpu=cpu, lags=[0.0] * len(scene.arrivals())))
    scene.check()
    return windows, usage.together("worker")


def _send(scene: Scene) -> None:
    from celery import Celery  # noqa: PLC0415 - an app of its own, as a shop has it

    shop = Celery("shop", broker=scene.redis_url, set_as_current=False)
    rows: Any = scene.connection.execute("SELECT session_id FROM payment_sessions").fetchall()
    for (session_id,) in rows:
        shop.send_task("prefork.poll", args=[session_id], queue="prefork-baseline")
    shop.close()
