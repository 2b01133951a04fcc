"""Builds what beat needs: to claim and send what is due, and to tell what waits."""

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
from worker.services.dispatch import DispatchService
from worker.services.governor import RateGovernor
from worker.services.meter import NULL_METER, Meter
from worker.services.streams import StreamService


@dataclass(frozen=True, slots=True)
class BeatServices:
    """What beat does, wired."""

    dispatch: DispatchService
    streams: StreamService


class _NoCipher:
    """Beat records no session and delivers none: tokens are not its business."""

    def encrypt(self, token: str) -> NoReturn:
        raise NotImplementedError

    def decrypt(self, encrypted: bytes) -> NoReturn:
        raise NotImplementedError


@asynccontextmanager
async def open_beat(settings: Settings, app: Celery) -> AsyncIterator[BeatServices]:
    """Build everything inside the running event loop; close it all at the end.

    Raises:
        InvalidSettingsError: metrics cannot be served where the settings say; the policy is not
            right, by which workers that beat sends polls to cannot start.
    """
    warn_of_misspelt_settings()
    poll_policy(settings)
    async with AsyncExitStack() as stack:
        meter = open_beat_meter(stack, settings)
        engine = open_engine(stack, settings)
        streams = StreamService(PostgresOutbox(engine), open_streams(stack, settings))
        dispatch = _dispatch_service(
            engine, app, settings, open_governor(stack, engine, settings), streams, meter
        )
        stack.push_async_callback(dispatch.close)
        yield BeatServices(dispatch, streams)


def _dispatch_service(
    engine: AsyncEngine,
    app: Celery,
    settings: Settings,
    governor: RateGovernor,
    streams: StreamService,
    meter: Meter,
) -> DispatchService:
    ways = routes(settings)
    accounts = sorted(settings.accounts)
    claims = Claims(
        PostgresSessions(engine, cipher=_NoCipher(), routes=ways),
        governor,
        accounts=accounts,
        tasks_per_tick=settings.poll_tasks_per_tick,
        limits=claim_limits(settings),
    )
    watch = BacklogMonitor(
        None if meter is NULL_METER else PostgresBacklog(engine, accounts=accounts),
        governor,
        meter=meter,
        monotonic=clock.monotonic,
    )
    return DispatchService(
        claims,
        PostgresOutbox(engine),
        CeleryPublisher(app),
        streams,
        confirmation_service(engine, settings),
        watch,
        routes=ways,
        tasks_per_tick=settings.poll_tasks_per_tick,
        monotonic=clock.monotonic,
        meter=meter,
    )
