"""What many followed sessions cost: a claim among them, the chain among them, tracking them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta

from benchmarks import background_load as among
from benchmarks import tracking
from benchmarks.environment import Scene, Stage
from benchmarks.figures import Figure
from benchmarks.load import follow
from benchmarks.plan import Plan
from worker.adapters import clock
from worker.adapters.postgres.engine import create_engine
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.services.sessions import ClaimLimits

CLAIMED = 500
# Due at any time: so many that a claim always finds its 500.
DUE = 1_000
TASKS = 16
MOST_MS = 10.0
MOST_TIMES_THE_SMALLEST = 1.5
# As shipped; room for every claim of a round.
LIMITS = ClaimLimits(
    lease=timedelta(seconds=30), sessions_in_flight=500, tasks_in_flight=64, sessions_per_task=50
)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Claim among ever more sessions, poll among as many, and track."""
    yield from _claims(stage, plan)
    yield from among.measure(stage, plan)
    yield from tracking.measure(stage, plan)


def _claims(stage: Stage, plan: Plan) -> Iterator[Figure]:
    smallest: float | None = None
    for followed in plan.followed:
        with stage.scene(f"claims among {followed:,}") as scene:
            _follow(scene, followed)
            taken = asyncio.run(_claim(scene, plan.claims))
        figure = Figure(
            name=f"scale: claim of {CLAIMED} among {followed:,}",
            unit="ms",
            values=tuple(taken),
            at_most=MOST_MS if followed == max(plan.followed) else None,
        )
        smallest = smallest or figure.median
        yield figure
    yield Figure(
        name=f"scale: that, relative to a claim among {min(plan.followed):,}",
        unit="times",
        values=(figure.median / smallest,),
        at_most=MOST_TIMES_THE_SMALLEST,
    )


def _follow(scene: Scene, followed: int) -> None:
    now = clock.now().timestamp()
    waiting = followed - DUE
    # Evenly over the 40 minutes that begin when this benchmark is over.
    follow(scene, waiting, first=now + 1800, rate=waiting / 2400)
    follow(scene, DUE, first=now - 10, rate=DUE)


async def _claim(scene: Scene, rounds: int) -> list[float]:
    """Claim, give back, again; returns the milliseconds of each claim but the first."""
    engine = create_engine(scene.database_url.replace("postgresql:", "postgresql+psycopg:"))
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
    """No session that is claimed here has a token."""

    def encrypt(self, token: str) -> bytes:
        """Never asked."""
        raise NotImplementedError(token)

    def decrypt(self, encrypted: bytes) -> str:
        """Never asked."""
        raise NotImplementedError(encrypted)
