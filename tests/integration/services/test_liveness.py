"""Progress over a real broker: taking tasks where tasks wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

from worker.adapters.celery_publisher import CeleryPublisher
from worker.services.liveness import LivenessService

pytestmark = pytest.mark.anyio


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    with Celery("worker", broker=redis_url, set_as_current=False) as made:
        yield made


async def test_nothing_to_take_is_progress(app: Celery):
    progress = LivenessService(CeleryPublisher(app))

    assert await progress.refresh(0)
    assert await progress.refresh(0)


async def test_tasks_that_wait_and_are_not_taken_are_none(app: Celery):
    """Alive, connected, and it consumes nothing: what a restart heals."""
    publisher = CeleryPublisher(app)
    progress = LivenessService(publisher)
    await publisher.send_relay(["s1"])

    assert await progress.refresh(3)
    assert not await progress.refresh(3)
    assert await progress.refresh(4)
    assert not await progress.refresh(4)


async def test_a_broker_that_is_away_is_no_fault_of_the_worker():
    with Celery("worker", broker="redis://127.0.0.1:9/0", set_as_current=False) as away:
        assert await LivenessService(CeleryPublisher(away)).refresh(0)
