"""The cost of many tracked sessions: a claim, the chain, tracking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta

from benchmarks import background_load, tracking
from benchmarks.environment import Deployment, Servers
from benchmarks.figures import Figure
from benchmarks.load import insert_sessions
from benchmarks.plan import Plan
from worker.adapters import clock
from worker.adapters.postgres.engine import create_engine
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.services.sessions import ClaimLimits

CLAIMED = 500
# Always due, so that a claim finds its 500.
DUE = 1_000
TASKS = 16
MOST_MS = 10.0
MOST_TIMES_THE_SMALLEST = 1.5
# The defaults; enough for every claim of a round.
LIMITS = ClaimLimits(
    lease=timedelta(seconds=30), sessions_in_flight=500, tasks_in_flight=64, sessions_per_task=50
)


def measure(servers: Servers, plan: Plan) -> Iterator[Figure]:
    """Claim with larger and larger tables, poll with the largest, and track."""
    yield from _claims(servers, plan)
    yield from background_load.measure(servers, plan)
    yield from tracking.measure(servers, plan)


def _claims(servers: Servers, plan: Plan) -> Iterator[Figure]:
    smallest: float | None = None
    for size in plan.table_sizes:
        with servers.deployment(f"claims among {size:,}") as deployment:
            _insert(deployment, size)
            taken = asyncio.run(_claim(deployment, plan.claims))
        figure = Figure(
            name=f"scale: claim of {CLAIMED} among {size:,}",
            unit="ms",
            values=tuple(taken),
            at_most=MOST_MS if size == max(plan.table_sizes) else None,
        )
        smallest = smallest or figure.median
        yield figure
    yield Figure(
        name=f"scale: that, relative to a claim among {min(plan.table_sizes):,}",
        unit="times",
        values=(figure.median / smallest,),
        at_most=MOST_TIMES_THE_SMALLEST,
    )


def _insert(deployment: Deployment, size: int) -> None:
    now = clock.now().timestamp()
    waiting = size - DUE
    # Evenly over 40 minutes, which begin after this benchmark.
    insert_sessions(deployment, waiting, first=now + 1800, rate=waiting / 2400)
    insert_sessions(deployment, DUE, first=now - 10, rate=DUE)


async def _claim(deployment: Deployment, rounds: int) -> list[float]:
    """Claim and release repeatedly; return the milliseconds of each claim but the first."""
    engine = create_engine(deployment.database_url.replace("postgresql:", "postgresql+psycopg:"))
    sessions = PostgresSessions(engine, cipher=_NoCipher(), routes=())
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        tasks = await sessions.claim("default", tasks=TASKS, limits=LIMITS, available=CLAIMED)
        taken.append(1000 * (time.perf_counter() - began))
        claimed = [session_id for task in tasks for session_id in task.session_ids]
        if len(claimed) != CLAIMED:
            raise RuntimeError(f"claimed {len(claimed)} of {CLAIMED}")
        await sessions.release(claimed, [task.lease_id for task in tasks])
    await engine.dispose()
    return taken[1:]


class _NoCipher:
    """Not used: no claimed session has a token."""

    def encrypt(self, token: str) -> bytes:
        """Never called."""
        raise NotImplementedError(token)

    def decrypt(self, encrypted: bytes) -> str:
        """Never called."""
        raise NotImplementedError(encrypted)
