"""The one place that builds adapters and services from settings."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from celery import Celery
from sqlalchemy.ext.asyncio import AsyncEngine

from config.settings import SHIPPED_POLICY, InvalidSettingsError, Settings
from worker.adapters import clock
from worker.adapters.celery_publisher import CeleryPublisher
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.json_lines import JsonLinesError
from worker.adapters.klarna.client import Credentials, HttpxKlarna
from worker.adapters.policy_file import read_policy
from worker.adapters.postgres.accounts import PostgresAccounts
from worker.adapters.postgres.backlog import PostgresBacklog
from worker.adapters.postgres.confirmations import PostgresConfirmations
from worker.adapters.postgres.engine import create_engine
from worker.adapters.postgres.outbox import PostgresOutbox
from worker.adapters.postgres.purge import PostgresPurge
from worker.adapters.postgres.sessions import PostgresSessions
from worker.adapters.postgres.shop_objects import PostgresFollowed
from worker.adapters.postgres.tokens import PostgresTokens
from worker.adapters.redis.quota import RedisQuota
from worker.adapters.sinks.order_placed import PaymentNotes
from worker.domain.policy import PollPolicy
from worker.domain.quota import Allowance, usual_limit
from worker.domain.schedule import PollLimits
from worker.services.backlog_watch import BacklogWatch
from worker.services.claims import Claims
from worker.services.confirmation import ConfirmationService
from worker.services.dispatch import DispatchService
from worker.services.governor import Governor
from worker.services.housekeeping import HousekeepingService
from worker.services.meter import SILENT, Meter
from worker.services.poll import PollService
from worker.services.ports import ClaimLimits
from worker.services.progress import ProgressService
from worker.services.relay import RelayService
from worker.services.tracing import Telemetry
from worker.services.track import TrackService
from worker.sinks import Sinks, open_sinks
from worker.telemetry import open_telemetry

SESSIONS_PER_TASK = 50
# Half of a worker's threads: one account that hangs leaves the others the other half.
TASKS_IN_FLIGHT = 32


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases, wired."""

    track: TrackService
    poll: PollService
    dispatch: DispatchService
    relay: RelayService
    housekeeping: HousekeepingService
    confirmation: ConfirmationService
    progress: ProgressService


@dataclass(frozen=True, slots=True)
class _Outside:
    """The adapters, built once a process."""

    engine: AsyncEngine
    klarna: HttpxKlarna
    cipher: FernetTokenCipher
    sessions: PostgresSessions
    confirmations: PostgresConfirmations
    outbox: PostgresOutbox
    publisher: CeleryPublisher
    governor: Governor
    sinks: Sinks


@asynccontextmanager
async def open_services(
    settings: Settings, app: Celery, *, metrics_port: int | None = None
) -> AsyncIterator[Services]:
    """Build everything inside the running event loop; close it all at the end.

    Metrics are served where `metrics_port` names a port.

    Raises:
        InvalidSettingsError: a file that the settings name is not right.
    """
    async with AsyncExitStack() as stack:
        poll_limits = _poll_limits(settings)
        telemetry = open_telemetry(stack, settings, metrics_port)
        outside = _open_outside(stack, settings, app)
        confirmation = ConfirmationService(
            outside.confirmations,
            clock_runs=settings.confirmation_expected,
            monotonic=clock.monotonic,
        )
        relay = RelayService(
            outside.outbox,
            outside.cipher,
            outside.sinks.every,
            lossy=outside.sinks.lossy,
            chance=random.random,
            telemetry=telemetry,
        )
        stack.push_async_callback(relay.close)
        yield Services(
            track=_track_service(outside, settings, telemetry),
            poll=_poll_service(outside, relay, settings, poll_limits, telemetry),
            dispatch=_dispatch_service(outside, relay, confirmation, settings, telemetry.meter),
            relay=relay,
            housekeeping=HousekeepingService(
                outside.sessions,
                PostgresTokens(outside.engine),
                PostgresPurge(outside.engine, sinks=relay.sinks),
                limits=poll_limits,
                retention=timedelta(days=settings.retention_days),
                meter=telemetry.meter,
            ),
            confirmation=confirmation,
            progress=ProgressService(outside.publisher),
        )


def _open_outside(stack: AsyncExitStack, settings: Settings, app: Celery) -> _Outside:
    engine = create_engine(settings.database_url.get_secret_value())
    stack.push_async_callback(engine.dispose)
    klarna = open_klarna(settings)
    stack.push_async_callback(klarna.aclose)
    cipher = FernetTokenCipher([k.get_secret_value() for k in settings.token_encryption_keys])
    # Confirming writes no event: no route is needed.
    notes = PaymentNotes(PostgresFollowed(engine), PostgresConfirmations(engine, routes=()))
    sinks = open_sinks(stack, settings, app, notes=notes, klarna=klarna)
    return _Outside(
        engine=engine,
        klarna=klarna,
        cipher=cipher,
        sessions=PostgresSessions(engine, cipher=cipher, routes=sinks.routes),
        confirmations=PostgresConfirmations(engine, routes=sinks.routes),
        outbox=PostgresOutbox(engine),
        publisher=CeleryPublisher(app),
        governor=_governor(stack, engine, settings),
        sinks=sinks,
    )


def _governor(stack: AsyncExitStack, engine: AsyncEngine, settings: Settings) -> Governor:
    quota = RedisQuota(settings.redis_url.get_secret_value(), monotonic=clock.monotonic)
    stack.push_async_callback(quota.aclose)
    return Governor(
        PostgresAccounts(engine),
        quota,
        allowances=allowances(settings),
        monotonic=clock.monotonic,
    )


def allowances(settings: Settings) -> dict[str, Allowance]:
    """Answer what each configured account may be asked, as far as the settings say."""
    return {
        name: Allowance(
            limit=account.read_limit or usual_limit(account.base_url),
            share=settings.klarna_quota_share,
            fixed=account.read_limit is not None,
        )
        for name, account in settings.accounts.items()
    }


def _track_service(outside: _Outside, settings: Settings, telemetry: Telemetry) -> TrackService:
    return TrackService(
        outside.sessions,
        outside.publisher,
        outside.governor,
        base_urls={name: account.base_url for name, account in settings.accounts.items()},
        allowed_origins=settings.klarna_allowed_origins,
        limits=_claim_limits(settings),
        monotonic=clock.monotonic,
        telemetry=telemetry,
    )


def _poll_service(
    outside: _Outside,
    relay: RelayService,
    settings: Settings,
    limits: PollLimits,
    telemetry: Telemetry,
) -> PollService:
    return PollService(
        outside.sessions,
        outside.klarna,
        relay,
        outside.governor,
        limits=limits,
        lease=settings.poll_lease_seconds,
        monotonic=clock.monotonic,
        chance=random.random,
        telemetry=telemetry,
    )


def _dispatch_service(
    outside: _Outside,
    relay: RelayService,
    confirmation: ConfirmationService,
    settings: Settings,
    meter: Meter,
) -> DispatchService:
    claims = Claims(
        outside.sessions,
        outside.governor,
        accounts=sorted(settings.accounts),
        tasks_per_tick=settings.poll_tasks_per_tick,
        limits=_claim_limits(settings),
    )
    watch = BacklogWatch(
        None
        if meter is SILENT
        else PostgresBacklog(outside.engine, accounts=sorted(settings.accounts)),
        outside.governor,
        meter=meter,
        monotonic=clock.monotonic,
    )
    return DispatchService(
        claims,
        outside.outbox,
        outside.publisher,
        relay,
        confirmation,
        watch,
        tasks_per_tick=settings.poll_tasks_per_tick,
        monotonic=clock.monotonic,
        meter=meter,
    )


def open_klarna(settings: Settings) -> HttpxKlarna:
    """Answer a client for every configured account; whoever asks closes it."""
    proxy = settings.klarna_proxy_url
    return HttpxKlarna(
        {
            name: Credentials(
                account.username, account.password.get_secret_value(), account.base_url
            )
            for name, account in settings.accounts.items()
        },
        allowed_origins=settings.klarna_allowed_origins,
        timeout=timedelta(seconds=settings.http_timeout_seconds),
        proxy_url=proxy.get_secret_value() if proxy else None,
    )


def poll_policy(settings: Settings) -> PollPolicy:
    """Answer the policy of POLL_POLICY_FILE, scaled to POLL_REQUESTS_PER_SESSION.

    Raises:
        InvalidSettingsError: the file is not right, or not made for so many or few requests.
    """
    try:
        policy = read_policy(settings.poll_policy_file or SHIPPED_POLICY)
    except JsonLinesError as error:
        raise InvalidSettingsError([f"POLL_POLICY_FILE: {error}"]) from None
    try:
        return policy.for_requests(settings.poll_requests_per_session)
    except ValueError as error:
        raise InvalidSettingsError([f"POLL_REQUESTS_PER_SESSION: {error}"]) from None


def _poll_limits(settings: Settings) -> PollLimits:
    return PollLimits(
        policy=poll_policy(settings),
        expiry_grace=settings.poll_expiry_grace_seconds,
        max_interval=settings.poll_max_interval_seconds,
        max_lifetime=settings.poll_max_lifetime_seconds,
        confirmation_expected=settings.confirmation_expected,
    )


def _claim_limits(settings: Settings) -> ClaimLimits:
    return ClaimLimits(
        lease=settings.poll_lease_seconds,
        sessions_in_flight=settings.poll_in_flight_per_account,
        tasks_in_flight=TASKS_IN_FLIGHT,
        sessions_per_task=SESSIONS_PER_TASK,
    )
