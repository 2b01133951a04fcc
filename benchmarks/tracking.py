"""What it takes to begin: sessions a second through the task, and a long list from a file."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import redis
from celery import Celery

from benchmarks.environment import BIN, EXPIRES_AT, Scene, Stage
from benchmarks.figures import Figure
from benchmarks.load import CHAIN
from benchmarks.plan import Plan

QUEUE = "payment-sessions"
LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 120.0
TRACKED_A_SECOND = 500.0
IN_BULK = 100_000
IN_BULK_SECONDS = 60.0


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Track by both ways, each thrice."""
    for workers in (1, 2):
        yield from _by_task(stage, plan, workers)
    with stage.scene("tracking from a file") as scene, TemporaryDirectory() as folder:
        seconds = [
            _from_file(scene, Path(folder, "list.jsonl"), plan.tracked_in_bulk)
            for _ in range(plan.windows)
        ]
    yield Figure(
        name=f"scale: tracking {plan.tracked_in_bulk:,} by `session-worker track --from`",
        unit="s",
        values=tuple(seconds),
        at_most=IN_BULK_SECONDS if plan.tracked_in_bulk == IN_BULK else None,
    )


def _by_task(stage: Stage, plan: Plan, workers: int) -> Iterator[Figure]:
    by = f"{workers} worker{'s' if workers > 1 else ''}"
    with stage.scene(f"tracking by tasks, {by}") as scene:
        held = [_hold(scene, plan.tracked) for _ in range(plan.windows)]
        scene.start(workers=workers)
        usage, runs = scene.usage(), []
        for run, queue in enumerate(held, start=1):
            before = usage.cpu_seconds()
            seconds = _take(scene, queue, run * plan.tracked)
            after = usage.cpu_seconds()
            runs.append((seconds, sum(after[role] - before[role] for role in CHAIN)))
        scene.check()
    yield Figure(
        name=f"scale: tracking by `payment_sessions.track`, {by}",
        unit="/s",
        values=tuple(plan.tracked / seconds for seconds, _ in runs),
        at_least=TRACKED_A_SECOND if workers > 1 else None,
    )
    yield Figure(
        name=f"scale: CPU per tracked session, with its first poll, {by}",
        unit="ms",
        values=tuple(1000 * cpu / plan.tracked for _, cpu in runs),
    )


def _hold(scene: Scene, count: int) -> str:
    """Send tasks as a shop does and lay them aside: sending them is not what is measured."""
    shop, held = Celery("shop", broker=scene.redis_url, set_as_current=False), uuid4().hex
    for _ in range(count):
        shop.send_task(
            "payment_sessions.track",
            args=[str(uuid4())],
            kwargs={"expires_at": EXPIRES_AT},
            queue=QUEUE,
        )
    shop.close()
    with redis.Redis.from_url(scene.redis_url) as client:
        client.rename(QUEUE, held)
    return held


def _take(scene: Scene, held: str, expected: int) -> float:
    """Give the tasks to the worker; returns the seconds until the last session is followed."""
    with redis.Redis.from_url(scene.redis_url) as client:
        client.rename(held, QUEUE)
    began = time.perf_counter()
    while _followed(scene) < expected:
        if time.perf_counter() - began > PATIENCE_SECONDS:
            raise RuntimeError(f"{_followed(scene)} of {expected} sessions are followed")
        time.sleep(LOOK_SECONDS)
    return time.perf_counter() - began


def _followed(scene: Scene) -> int:
    row = scene.connection.execute("SELECT count(*) FROM payment_sessions").fetchone()
    return row[0] if row else 0


def _from_file(scene: Scene, path: Path, count: int) -> float:
    """Return how long the whole command takes."""
    line = {"expires_at": EXPIRES_AT}
    with path.open("w") as file:
        file.writelines(
            json.dumps({"session_id": str(uuid4()), **line}) + "\n" for _ in range(count)
        )
    before, began = _followed(scene), time.perf_counter()
    subprocess.run(  # noqa: S603 - the project's own
        [BIN / "session-worker", "track", "--from", path],
        env=scene.environment(),
        check=True,
        capture_output=True,
    )
    seconds = time.perf_counter() - began
    if _followed(scene) - before != count:
        raise RuntimeError("not all of the list is followed")
    return seconds
