"""From a transition's event being written to its entry in the stream and to the webhook's receipt.

It is written at `created_at`, when its transaction begins: the commit is a little later.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import redis

from benchmarks.environment import Scene, Stage
from benchmarks.figures import Figure, percentile
from benchmarks.load import CHAIN, follow
from benchmarks.mock_klarna import COMPLETED
from benchmarks.plan import Plan
from worker.adapters import clock

EVENTS_A_SECOND = 100
SETTLE_SECONDS = 3.0
STREAM = "payment-session-events"
# By sink: what its receipt is called, and the milliseconds asked for.
PLACES = {"redis_stream": "stream entry", "webhook": "webhook's receipt"}
TARGETS = {"redis_stream": {99.0: 150.0}, "webhook": {}}


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Have sessions complete at 100 a second, each with one event; to each sink by itself."""
    for sink, place in PLACES.items():
        with stage.scene(f"emit, {place}") as scene:
            scene.start(workers=1, EVENT_SINKS=sink)
            yield from _emit(scene, plan, sink)


def _emit(scene: Scene, plan: Plan, sink: str) -> Iterator[Figure]:
    seconds = plan.emit_seconds
    count = int(EVENTS_A_SECOND * seconds)
    first = clock.now().timestamp() + 2
    follow(scene, count, first=first, rate=EVENTS_A_SECOND, prefix=COMPLETED)
    usage = scene.usage()
    before = usage.cpu_seconds()
    time.sleep(first + seconds + SETTLE_SECONDS - clock.now().timestamp())
    after = usage.cpu_seconds()
    scene.check()
    written = _written(scene)
    times = _entries(scene) if sink == "redis_stream" else dict(scene.arrivals())
    delays = [1000 * (times[name] - at) for name, at in written.items() if name in times]
    place = PLACES[sink]
    yield Figure(
        name=f"emit: events received, {place}",
        unit=f"of {count}",
        values=(len(delays),),
        at_least=count,
    )
    for percent in (50.0, 95.0, 99.0):
        yield Figure(
            name=f"emit: commit to {place}, p{percent:g} at {EVENTS_A_SECOND} events/s",
            unit="ms",
            values=tuple(percentile(run, percent) for run in _runs(delays, plan.windows)),
            at_most=TARGETS[sink].get(percent),
        )
    yield Figure(
        name=f"emit: CPU per event, with its poll, {place}",
        unit="ms",
        values=(1000 * sum(after[role] - before[role] for role in CHAIN) / count,),
    )


def _runs(delays: list[float], runs: int) -> Iterator[list[float]]:
    """Split them evenly, in the order in which their events were written."""
    for run in range(runs):
        part = delays[run * len(delays) // runs : (run + 1) * len(delays) // runs]
        yield part or [float("inf")]


def _written(scene: Scene) -> dict[str, float]:
    """When each event was written, by its id, the earliest first."""
    rows = scene.connection.execute(
        "SELECT event_id::text, EXTRACT(epoch FROM created_at)::float FROM outbox_messages"
        " ORDER BY created_at"
    )
    return dict(rows.fetchall())


def _entries(scene: Scene) -> dict[str, float]:
    """When each event's entry was made: the first half of its id is milliseconds."""
    with redis.Redis.from_url(scene.redis_url) as client:
        entries: Any = client.xrange(STREAM)
    return {
        fields[b"id"].decode(): int(entry.partition(b"-")[0]) / 1000 for entry, fields in entries
    }
