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
from worker.bootstrap import Services, open_services

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
        port = settings.metrics_port
        async with open_services(settings, app, metrics_port=port) as services:
            yield services
    finally:
        app.close()


async def eventually_beside(fact: Callable[[], Fact], **options: object) -> Fact:
    """Wait for a fact while the event loop goes on."""
    return await anyio.to_thread.run_sync(partial(eventually, fact, **options))
