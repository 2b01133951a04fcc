"""Builds what a worker needs: tracking, polling, delivery, housekeeping."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from celery import Celery
from sqlalchemy.ext.asyncio import AsyncEngine

from config.settings import OWN_QUEUES, Settings
from worker.adapters import clock
from worker.adapters.celery_publisher import CeleryPublisher
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.klarna.client import Credentials, HttpxKlarna
from worker.adapters.postgres.outbox.repository import PostgresOutbox
from worker.adapters.postgres.purge import PostgresPurge
from worker.adapters.postgres.refused.repository import PostgresRefusedMessages
from worker.adapters.postgres.sessions.confirmations import PostgresConfirmations
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.adapters.postgres.sessions.shop_objects import PostgresSessionLookup
from worker.adapters.postgres.tokens import PostgresTokens
from worker.adapters.shop_systems.tracked_payments import TrackedPayments
from worker.bootstrap.shared import (
    claim_limits,
    confirmation_service,
    open_engine,
    open_governor,
    open_heartbeat,
    open_streams,
    poll_policy,
    routes,
    warn_of_misspelt_settings,
)
from worker.bootstrap.sinks import open_sinks
from worker.bootstrap.telemetry import open_telemetry
from worker.domain.schedule import PollLimits
from worker.services.confirmation import ConfirmationService
from worker.services.governor import RateGovernor
from worker.services.heartbeat import HeartbeatService
from worker.services.housekeeping import HousekeepingService
from worker.services.liveness import LivenessService
from worker.services.poll import PollEnvironment, PollService
from worker.services.refused_messages import RefusedMessagesService
from worker.services.relay import RelayService
from worker.services.sinks import Sink
from worker.services.tracing import Telemetry
from worker.services.track import TrackEnvironment, TrackService


@dataclass(frozen=True, slots=True)
class WorkerServices:
    """A worker's services."""

    track: TrackService
    poll: PollService
    relay: RelayService
    housekeeping: HousekeepingService
    confirmation: ConfirmationService
    liveness: LivenessService
    refused: RefusedMessagesService
    heartbeat: HeartbeatService

    def stop(self) -> None:
        """Start nothing new; safe in a signal handler."""
        self.poll.stop()
        self.track.stop()
        self.confirmation.stop()
        self.refused.stop()


# Worker's services, task, envelope and when the message came; returns whether it was not overtaken.
TakeInAgain = Callable[[WorkerServices, str, str, datetime], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class _Adapters:
    """Built once a process."""

    engine: AsyncEngine
    klarna: HttpxKlarna
    cipher: FernetTokenCipher
    sessions: PostgresSessions
    publisher: CeleryPublisher
    governor: RateGovernor
    sinks: Sequence[Sink]


@asynccontextmanager
async def open_worker(
    settings: Settings, app: Celery, *, take_in_again: TakeInAgain
) -> AsyncIterator[WorkerServices]:
    """Build everything inside the running event loop; close it all at the end.

    `take_in_again` takes in a message that was refused at first.

    Raises:
        InvalidSettingsError: a file that the settings name is invalid.
    """
    warn_of_misspelt_settings()
    async with AsyncExitStack() as stack:
        telemetry = open_telemetry(stack, settings)
        adapters = _open_adapters(stack, settings, app)
        relay = _relay_service(adapters, telemetry)
        stack.push_async_callback(relay.close)
        poll = _poll_service(adapters, relay, settings, telemetry)
        stack.push_async_callback(poll.close)

        async def take_in(task: str, envelope: str, received_at: datetime) -> bool:
            return await take_in_again(services, task, envelope, received_at)

        services = WorkerServices(
            track=_track_service(adapters, settings, telemetry),
            poll=poll,
            relay=relay,
            housekeeping=_housekeeping_service(adapters, relay, settings, telemetry),
            confirmation=confirmation_service(adapters.engine, settings),
            liveness=LivenessService(adapters.publisher),
            refused=_refused_messages_service(adapters, telemetry, take_in),
            heartbeat=open_heartbeat(
                stack, adapters.engine, settings, role="worker", queues=OWN_QUEUES
            ),
        )
        yield services


def _refused_messages_service(
    adapters: _Adapters,
    telemetry: Telemetry,
    take_in: Callable[[str, str, datetime], Awaitable[bool]],
) -> RefusedMessagesService:
    return RefusedMessagesService(
        PostgresRefusedMessages(adapters.engine),
        adapters.cipher,
        take_in,
        meter=telemetry.meter,
        monotonic=clock.monotonic,
    )


def _open_adapters(stack: AsyncExitStack, settings: Settings, app: Celery) -> _Adapters:
    engine = open_engine(stack, settings)
    klarna = open_klarna(settings)
    stack.push_async_callback(klarna.aclose)
    cipher = FernetTokenCipher([k.get_secret_value() for k in settings.token_encryption_keys])
    # Confirming writes no event: no route is needed.
    tracked_payments = TrackedPayments(
        PostgresSessionLookup(engine), PostgresConfirmations(engine, routes=())
    )
    return _Adapters(
        engine=engine,
        klarna=klarna,
        cipher=cipher,
        sessions=PostgresSessions(engine, cipher=cipher, routes=routes(settings)),
        publisher=CeleryPublisher(app),
        governor=open_governor(stack, engine, settings),
        sinks=[
            *open_streams(stack, settings),
            *open_sinks(stack, settings, app, tracked_payments=tracked_payments, klarna=klarna),
        ],
    )


def _track_service(adapters: _Adapters, settings: Settings, telemetry: Telemetry) -> TrackService:
    return TrackService(
        adapters.sessions,
        adapters.publisher,
        adapters.governor,
        environment=TrackEnvironment(
            base_urls={name: account.base_url for name, account in settings.accounts.items()},
            allowed_origins=settings.account_origins,
            limits=claim_limits(settings),
            max_lifetime=settings.poll_max_lifetime_seconds,
            now=clock.now,
            monotonic=clock.monotonic,
        ),
        telemetry=telemetry,
    )


def _relay_service(adapters: _Adapters, telemetry: Telemetry) -> RelayService:
    return RelayService(
        PostgresOutbox(adapters.engine),
        adapters.cipher,
        adapters.sinks,
        chance=random.random,
        telemetry=telemetry,
    )


def _housekeeping_service(
    adapters: _Adapters, relay: RelayService, settings: Settings, telemetry: Telemetry
) -> HousekeepingService:
    return HousekeepingService(
        adapters.sessions,
        PostgresTokens(adapters.engine),
        PostgresPurge(adapters.engine, sinks=relay.sinks),
        PostgresRefusedMessages(adapters.engine),
        limits=_poll_limits(settings),
        retention=timedelta(days=settings.retention_days),
        meter=telemetry.meter,
    )


def _poll_service(
    adapters: _Adapters, relay: RelayService, settings: Settings, telemetry: Telemetry
) -> PollService:
    return PollService(
        adapters.sessions,
        adapters.klarna,
        relay,
        adapters.governor,
        environment=PollEnvironment(
            limits=_poll_limits(settings),
            lease=settings.poll_lease_seconds,
            monotonic=clock.monotonic,
            chance=random.random,
        ),
        telemetry=telemetry,
    )


def open_klarna(settings: Settings) -> HttpxKlarna:
    """Return a client for all configured accounts; the caller closes it."""
    proxy = settings.klarna_proxy_url
    return HttpxKlarna(
        {
            name: Credentials(
                account.username, account.password.get_secret_value(), account.base_url
            )
            for name, account in settings.accounts.items()
        },
        allowed_origins=settings.account_origins,
        timeout=timedelta(seconds=settings.http_timeout_seconds),
        proxy_url=proxy.get_secret_value() if proxy else None,
    )


def _poll_limits(settings: Settings) -> PollLimits:
    return PollLimits(
        policy=poll_policy(settings),
        expiry_grace=settings.poll_expiry_grace_seconds,
        max_interval=settings.poll_max_interval_seconds,
        max_lifetime=settings.poll_max_lifetime_seconds,
        confirmation_expected=settings.confirmation_expected,
    )
