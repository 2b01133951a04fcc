"""Tracking: sessions a second by the task, and a long list from a file."""

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

from benchmarks.environment import EXPIRES_AT, Deployment, Servers
from benchmarks.figures import Figure
from benchmarks.load import CHAIN
from benchmarks.plan import Plan
from devkit.processes import BIN

QUEUE = "payment-sessions"
CHECK_SECONDS = 0.1
TIMEOUT_SECONDS = 120.0
TRACKED_A_SECOND = 500.0
IN_BULK = 100_000
IN_BULK_SECONDS = 60.0


def measure(servers: Servers, plan: Plan) -> Iterator[Figure]:
    """Track by task and from a file, three times each."""
    for workers in (1, 2):
        yield from _by_task(servers, plan, workers)
    with servers.deployment("tracking from a file") as deployment, TemporaryDirectory() as folder:
        seconds = [
            _from_file(deployment, Path(folder, "list.jsonl"), plan.tracked_in_bulk)
            for _ in range(plan.windows)
        ]
    yield Figure(
        name=f"scale: tracking {plan.tracked_in_bulk:,} by `session-worker track --from`",
        unit="s",
        values=tuple(seconds),
        at_most=IN_BULK_SECONDS if plan.tracked_in_bulk == IN_BULK else None,
    )


def _by_task(servers: Servers, plan: Plan, workers: int) -> Iterator[Figure]:
    by = f"{workers} worker{'s' if workers > 1 else ''}"
    with servers.deployment(f"tracking by tasks, {by}") as deployment:
        held = [_set_aside(deployment, plan.tracked) for _ in range(plan.windows)]
        deployment.start(workers=workers)
        usage, runs = deployment.usage(), []
        for run, queue in enumerate(held, start=1):
            before = usage.cpu_seconds()
            seconds = _consume(deployment, queue, run * plan.tracked)
            after = usage.cpu_seconds()
            runs.append((seconds, sum(after[role] - before[role] for role in CHAIN)))
        deployment.check()
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


def _set_aside(deployment: Deployment, count: int) -> str:
    """Send tasks as a shop does, and set them aside: sending them is not measured."""
    shop, held = Celery("shop", broker=deployment.redis_url, set_as_current=False), uuid4().hex
    for _ in range(count):
        shop.send_task(
            "payment_sessions.track",
            args=[str(uuid4())],
            kwargs={"expires_at": EXPIRES_AT},
            queue=QUEUE,
        )
    shop.close()
    with redis.Redis.from_url(deployment.redis_url) as client:
        client.rename(QUEUE, held)
    return held


def _consume(deployment: Deployment, held: str, expected: int) -> float:
    """Give the tasks to the worker; return the seconds until the last session is tracked."""
    with redis.Redis.from_url(deployment.redis_url) as client:
        client.rename(held, QUEUE)
    began = time.perf_counter()
    while _tracked(deployment) < expected:
        if time.perf_counter() - began > TIMEOUT_SECONDS:
            raise RuntimeError(f"{_tracked(deployment)} of {expected} sessions are tracked")
        time.sleep(CHECK_SECONDS)
    return time.perf_counter() - began


def _tracked(deployment: Deployment) -> int:
    row = deployment.connection.execute("SELECT count(*) FROM payment_sessions").fetchone()
    return row[0] if row else 0


def _from_file(deployment: Deployment, path: Path, count: int) -> float:
    """Return the seconds of the whole command."""
    line = {"expires_at": EXPIRES_AT}
    with path.open("w") as file:
        file.writelines(
            json.dumps({"session_id": str(uuid4()), **line}) + "\n" for _ in range(count)
        )
    before, began = _tracked(deployment), time.perf_counter()
    subprocess.run(  # noqa: S603 - the project's own
        [BIN / "session-worker", "track", "--from", path],
        env=deployment.environment(),
        check=True,
        capture_output=True,
    )
    seconds = time.perf_counter() - began
    if _tracked(deployment) - before != count:
        raise RuntimeError("not every session of the list is tracked")
    return seconds
