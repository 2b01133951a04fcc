"""Time from the commit of an event to its entry in the stream, or its receipt by the webhook.

Measured from `created_at`, when its transaction begins: the commit is a little later.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import redis

from benchmarks.environment import Deployment, Servers
from benchmarks.figures import Figure, percentile
from benchmarks.load import CHAIN, insert_sessions
from benchmarks.mock_klarna import COMPLETED
from benchmarks.plan import Plan
from worker.adapters import clock

EVENTS_A_SECOND = 100
SETTLE_SECONDS = 3.0
STREAM = "payment-session-events"
# By sink: the name of its receipt, and the target in milliseconds.
RECEIPTS = {"redis_stream": "stream entry", "webhook": "webhook's receipt"}
TARGETS = {"redis_stream": {99.0: 150.0}, "webhook": {}}


def measure(servers: Servers, plan: Plan) -> Iterator[Figure]:
    """Complete sessions at 100 a second, each with one event; one sink at a time."""
    for sink, receipt in RECEIPTS.items():
        with servers.deployment(f"emit, {receipt}") as deployment:
            deployment.start(workers=1, EVENT_SINKS=sink)
            yield from _emit(deployment, plan, sink)


def _emit(deployment: Deployment, plan: Plan, sink: str) -> Iterator[Figure]:
    seconds = plan.emit_seconds
    count = int(EVENTS_A_SECOND * seconds)
    first = clock.now().timestamp() + 2
    insert_sessions(deployment, count, first=first, rate=EVENTS_A_SECOND, prefix=COMPLETED)
    usage = deployment.usage()
    before = usage.cpu_seconds()
    time.sleep(first + seconds + SETTLE_SECONDS - clock.now().timestamp())
    after = usage.cpu_seconds()
    deployment.check()
    written = _written(deployment)
    times = _entries(deployment) if sink == "redis_stream" else dict(deployment.arrivals())
    delays = [1000 * (times[name] - at) for name, at in written.items() if name in times]
    receipt = RECEIPTS[sink]
    yield Figure(
        name=f"emit: events received, {receipt}",
        unit=f"of {count}",
        values=(len(delays),),
        at_least=count,
    )
    for percent in (50.0, 95.0, 99.0):
        yield Figure(
            name=f"emit: commit to {receipt}, p{percent:g} at {EVENTS_A_SECOND} events/s",
            unit="ms",
            values=tuple(percentile(run, percent) for run in _runs(delays, plan.windows)),
            at_most=TARGETS[sink].get(percent),
        )
    yield Figure(
        name=f"emit: CPU per event, with its poll, {receipt}",
        unit="ms",
        values=(1000 * sum(after[role] - before[role] for role in CHAIN) / count,),
    )


def _runs(delays: list[float], runs: int) -> Iterator[list[float]]:
    """Split the delays evenly, in the order of their events."""
    for run in range(runs):
        part = delays[run * len(delays) // runs : (run + 1) * len(delays) // runs]
        yield part or [float("inf")]


def _written(deployment: Deployment) -> dict[str, float]:
    """Return when each event was written, by its id, the earliest first."""
    rows = deployment.connection.execute(
        "SELECT event_id::text, EXTRACT(epoch FROM created_at)::float FROM outbox_messages"
        " ORDER BY created_at"
    )
    return dict(rows.fetchall())


def _entries(deployment: Deployment) -> dict[str, float]:
    """Return when each event's entry was added: the first half of an entry's id is milliseconds."""
    with redis.Redis.from_url(deployment.redis_url) as client:
        entries: Any = client.xrange(STREAM)
    return {
        fields[b"id"].decode(): int(entry.partition(b"-")[0]) / 1000 for entry, fields in entries
    }
