"""Builds what beat needs: claiming and sending due polls, and reporting the backlog."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn

from celery import Celery
from sqlalchemy.ext.asyncio import AsyncEngine

from config.settings import Settings
from worker.adapters import clock
from worker.adapters.celery_publisher import CeleryPublisher
from worker.adapters.postgres.outbox.repository import PostgresOutbox
from worker.adapters.postgres.reports.backlog import PostgresBacklog
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.bootstrap.shared import (
    claim_limits,
    confirmation_service,
    open_engine,
    open_governor,
    open_streams,
    poll_policy,
    routes,
    warn_of_misspelt_settings,
)
from worker.bootstrap.telemetry import open_beat_meter
from worker.services.backlog_monitor import BacklogMonitor
from worker.services.claims import Claims
from worker.services.dispatch import BeatJobs, DispatchService
from worker.services.governor import RateGovernor
from worker.services.meter import NULL_METER, Meter
from worker.services.poll_dispatch import PollDispatch
from worker.services.queues import Queues
from worker.services.streams import StreamService
from worker.services.sweep import Sweep


@dataclass(frozen=True, slots=True)
class BeatServices:
    """Beat's services."""

    dispatch: DispatchService
    streams: StreamService


class _NoCipher:
    """Beat records no session and delivers no event: it needs no token."""

    def encrypt(self, token: str) -> NoReturn:
        raise NotImplementedError

    def decrypt(self, encrypted: bytes) -> NoReturn:
        raise NotImplementedError


@asynccontextmanager
async def open_beat(settings: Settings, app: Celery) -> AsyncIterator[BeatServices]:
    """Build everything inside the running event loop; close it all at the end.

    Raises:
        InvalidSettingsError: metrics cannot be served where the settings say; or the policy is
            invalid: no worker can start with it, and nobody would take the polls.
    """
    warn_of_misspelt_settings()
    poll_policy(settings)
    async with AsyncExitStack() as stack:
        meter = open_beat_meter(stack, settings)
        engine = open_engine(stack, settings)
        governor = open_governor(stack, engine, settings)
        streams = StreamService(PostgresOutbox(engine), open_streams(stack, settings))
        dispatch = DispatchService(
            _jobs(engine, app, settings, governor=governor, streams=streams, meter=meter),
            monotonic=clock.monotonic,
            meter=meter,
        )
        stack.push_async_callback(dispatch.close)
        yield BeatServices(dispatch, streams)


def _jobs(
    engine: AsyncEngine,
    app: Celery,
    settings: Settings,
    *,
    governor: RateGovernor,
    streams: StreamService,
    meter: Meter,
) -> BeatJobs:
    publisher = CeleryPublisher(app)
    queues = Queues(publisher, tasks_per_tick=settings.poll_tasks_per_tick, meter=meter)
    accounts = sorted(settings.accounts)
    claims = Claims(
        PostgresSessions(engine, cipher=_NoCipher(), routes=routes(settings)),
        governor,
        accounts=accounts,
        tasks_per_tick=settings.poll_tasks_per_tick,
        limits=claim_limits(settings),
    )
    return BeatJobs(
        backlog=BacklogMonitor(
            None if meter is NULL_METER else PostgresBacklog(engine, accounts=accounts),
            governor,
            meter=meter,
            monotonic=clock.monotonic,
        ),
        confirmation=confirmation_service(engine, settings),
        queues=queues,
        polls=PollDispatch(claims, publisher, queues),
        sweep=Sweep(PostgresOutbox(engine), publisher, queues, routes=routes(settings)),
        streams=streams,
    )
