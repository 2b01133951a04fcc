"""The one place that builds adapters from settings, and the event loop that they live in."""

from __future__ import annotations

import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from celery import Celery
from redis.asyncio import Redis

from config.settings import Settings
from worker.adapters import clock
from worker.adapters.celery_publisher import CeleryPublisher
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.klarna.client import Credentials, HttpxKlarna
from worker.adapters.postgres.engine import create_engine
from worker.adapters.postgres.outbox import PostgresOutbox
from worker.adapters.postgres.purge import PostgresPurge
from worker.adapters.postgres.sessions import PostgresSessions
from worker.adapters.postgres.tokens import PostgresTokens
from worker.adapters.sinks.celery_task import CeleryTaskSink
from worker.adapters.sinks.redis_stream import RedisStreamSink
from worker.domain.schedule import PollLimits
from worker.services.dispatch import DispatchService
from worker.services.housekeeping import HousekeepingService
from worker.services.poll import PollService
from worker.services.ports import ClaimLimits, Sink
from worker.services.relay import RelayService
from worker.services.track import TrackService

Result = TypeVar("Result")

SESSIONS_PER_TASK = 50
# Half of the worker's 64 threads: one account that hangs leaves the others the other half.
TICKS_IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases, wired."""

    track: TrackService
    poll: PollService
    dispatch: DispatchService
    relay: RelayService
    housekeeping: HousekeepingService


@asynccontextmanager
async def open_services(settings: Settings, app: Celery) -> AsyncIterator[Services]:
    """Build everything inside the running event loop; close it all at the end."""
    async with AsyncExitStack() as stack:
        engine = create_engine(settings.database_url.get_secret_value())
        stack.push_async_callback(engine.dispose)
        redis = Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=5,
            socket_connect_timeout=5,
            health_check_interval=10,
        )
        stack.push_async_callback(redis.aclose)
        klarna = _klarna(settings)
        stack.push_async_callback(klarna.aclose)
        cipher = FernetTokenCipher([k.get_secret_value() for k in settings.token_encryption_keys])
        sessions = PostgresSessions(engine, cipher=cipher, sinks=settings.event_sinks)
        outbox = PostgresOutbox(engine)
        publisher = CeleryPublisher(app)
        stream = RedisStreamSink(
            redis,
            stream=settings.event_stream,
            retention=timedelta(hours=settings.event_stream_retention_hours),
        )
        sinks: dict[str, Sink] = {"redis_stream": stream}
        if "celery" in settings.event_sinks:
            shop_tasks = _shop_tasks(settings, app)
            stack.callback(shop_tasks.close)
            sinks["celery"] = shop_tasks
        relay = RelayService(
            outbox,
            cipher,
            [sinks[name] for name in settings.event_sinks],
            lossy=[stream] if "redis_stream" in settings.event_sinks else [],
            chance=random.random,
        )
        limits = _poll_limits(settings)
        claims = _claim_limits(settings)
        poll = PollService(
            sessions,
            klarna,
            publisher,
            limits=limits,
            lease=settings.poll_lease_seconds,
            monotonic=clock.monotonic,
            chance=random.random,
        )
        yield Services(
            track=TrackService(
                sessions,
                publisher,
                base_urls={name: a.base_url for name, a in settings.accounts.items()},
                allowed_origins=settings.klarna_allowed_origins,
                limits=claims,
                monotonic=clock.monotonic,
            ),
            poll=poll,
            dispatch=DispatchService(
                sessions,
                outbox,
                publisher,
                relay,
                accounts=sorted(settings.accounts),
                tasks_per_tick=settings.poll_tasks_per_tick,
                limits=claims,
                monotonic=clock.monotonic,
            ),
            relay=relay,
            housekeeping=HousekeepingService(
                sessions,
                PostgresTokens(engine),
                PostgresPurge(engine),
                limits=limits,
                retention=timedelta(days=settings.retention_days),
            ),
        )


def _klarna(settings: Settings) -> HttpxKlarna:
    proxy = settings.klarna_proxy_url
    return HttpxKlarna(
        {
            name: Credentials(account.username, account.password.get_secret_value())
            for name, account in settings.accounts.items()
        },
        allowed_origins=settings.klarna_allowed_origins,
        timeout=timedelta(seconds=settings.http_timeout_seconds),
        proxy_url=proxy.get_secret_value() if proxy else None,
    )


def _shop_tasks(settings: Settings, app: Celery) -> CeleryTaskSink:
    return CeleryTaskSink(
        settings.effective_broker_url,
        task=settings.celery_event_task,
        queue=settings.celery_event_queue,
        transport_options=dict(app.conf.broker_transport_options),
    )


def _poll_limits(settings: Settings) -> PollLimits:
    return PollLimits(
        expiry_grace=settings.poll_expiry_grace_seconds,
        max_interval=settings.poll_max_interval_seconds,
        max_lifetime=settings.poll_max_lifetime_seconds,
    )


def _claim_limits(settings: Settings) -> ClaimLimits:
    return ClaimLimits(
        lease=settings.poll_lease_seconds,
        sessions_in_flight=settings.poll_in_flight_per_account,
        tasks_in_flight=settings.poll_tasks_per_tick * TICKS_IN_FLIGHT,
        sessions_per_task=SESSIONS_PER_TASK,
    )


class Runtime:
    """This process's event loop with the services in it, for threads that only wait."""

    def __init__(self) -> None:
        self._stack: ExitStack | None = None
        self._portal: BlockingPortal | None = None
        self._services: Services | None = None
        # Reentrant: a second signal may interrupt a close under way in the same thread.
        self._closing = threading.RLock()

    @property
    def services(self) -> Services:
        """The services; only after `start`."""
        if self._services is None:
            raise RuntimeError("the runtime is not started: tasks run in a Celery worker only")
        return self._services

    def start(self, settings: Settings, app: Celery) -> None:
        """Start the loop and build the services in it."""
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal(name="payment-sessions"))
            self._services = stack.enter_context(
                self._portal.wrap_async_context_manager(open_services(settings, app))
            )
            self._stack = stack.pop_all()

    def call(self, function: Callable[..., Awaitable[Result]], *arguments: object) -> Result:
        """Run `function` in the loop and wait for what it answers."""
        if self._portal is None:
            raise RuntimeError("the runtime is not started: tasks run in a Celery worker only")
        return self._portal.call(function, *arguments)

    def stop(self) -> None:
        """Take on nothing new; safe in a signal handler."""
        if self._services is not None:
            self._services.poll.stop()
            self._services.track.stop()

    def close(self) -> None:
        """Give leases back and close everything; however often and wherever it is called from."""
        with self._closing:
            stack, self._stack = self._stack, None
            if stack is None:
                return
            try:
                self.call(self.services.dispatch.close)
                self.call(self.services.poll.close)
            finally:
                stack.close()
