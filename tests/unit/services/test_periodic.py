"""Jobs with their intervals."""

from __future__ import annotations

import pytest

from worker.services.periodic import Periodic

pytestmark = pytest.mark.anyio


async def runs(every: float, *moments: float) -> list[float]:
    """The moments at which a job ran that was called at `moments`."""
    ran: list[float] = []
    now = 0.0

    async def job() -> None:
        ran.append(now)

    periodic = Periodic(every, job)
    for now in moments:
        await periodic.run_if_due(now)
    return ran


async def test_a_job_runs_at_the_first_call_and_then_once_an_interval():
    assert await runs(5, 0, 1, 4.9, 5, 6, 10) == [0, 5, 10]


async def test_a_job_without_an_interval_runs_at_every_call():
    assert await runs(0, 0, 0, 1) == [0, 0, 1]


async def test_an_interval_begins_with_a_failed_run_too():
    """A job that always fails is not called more often than one that works."""
    failed = 0

    async def job() -> None:
        nonlocal failed
        failed += 1
        raise ZeroDivisionError

    periodic = Periodic(5, job)
    with pytest.raises(ZeroDivisionError):
        await periodic.run_if_due(0)
    await periodic.run_if_due(4)

    assert failed == 1
