"""The services over real adapters, in the test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio.to_thread
import pytest
from celery import Celery

from config.settings import Settings, parse
from tests.support.eventually import eventually
from worker.bootstrap.beat import open_beat
from worker.bootstrap.worker import WorkerServices, open_worker
from worker.services.dispatch import DispatchService
from worker.services.streams import StreamService


class Services:
    """A worker's and a beat's, in one process."""

    def __init__(
        self, worker: WorkerServices, dispatch: DispatchService, streams: StreamService
    ) -> None:
        self.track = worker.track
        self.poll = worker.poll
        self.relay = worker.relay
        self.housekeeping = worker.housekeeping
        self.confirmation = worker.confirmation
        self.liveness = worker.liveness
        self.dispatch = dispatch
        self.streams = streams


OpenServices = Callable[..., AbstractAsyncContextManager[Services]]
Fact = TypeVar("Fact")


def deployed(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Settings, Celery]:
    """The settings of an environment, and an app that is configured as the worker's own is."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = parse(Settings)
    app = Celery("worker", set_as_current=False)
    app.config_from_object("config.celeryconfig")
    # The module is imported once a process, whatever the broker was then.
    app.conf.broker_url = settings.effective_broker_url
    return settings, app


@asynccontextmanager
async def opened_services(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Services]:
    """The services as a deployment with this environment has them."""
    settings, app = deployed(environment, monkeypatch)
    try:
        # Beat goes by METRICS_PORT where it has no port of its own; here the worker has that one.
        of_beat = settings.model_copy(update={"metrics_port": None})
        async with open_worker(settings, app) as worker, open_beat(of_beat, app) as beat:
            yield Services(worker, beat.dispatch, beat.streams)
    finally:
        app.close()


async def eventually_beside(fact: Callable[[], Fact], **options: object) -> Fact:
    """Wait for a fact while the event loop goes on."""
    return await anyio.to_thread.run_sync(partial(eventually, fact, **options))
