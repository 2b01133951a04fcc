"""What both worker and beat build."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from datetime import timedelta

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

from config.misspelt import misspelt
from config.settings import SHIPPED_POLICY, InvalidSettingsError, Settings
from worker.adapters import clock
from worker.adapters.json_lines import JsonLinesError
from worker.adapters.policy_file import read_policy
from worker.adapters.postgres.engine import create_engine
from worker.adapters.postgres.sessions.accounts import PostgresAccounts
from worker.adapters.postgres.sessions.confirmations import PostgresConfirmations
from worker.adapters.redis.rate_limiter import RedisRateLimiter
from worker.adapters.sinks.redis_stream import RedisStreamSink
from worker.domain.deliveries import SHOP_SYSTEM_TYPES, SHOP_SYSTEMS, Route
from worker.domain.policy import PollPolicy
from worker.domain.quota import ReadQuotaConfig, usual_limit
from worker.services.confirmation import ConfirmationService
from worker.services.governor import RateGovernor
from worker.services.sessions import ClaimLimits

log = structlog.get_logger(__name__)

SESSIONS_PER_TASK = 50
# Half of a worker's threads: an account that hangs leaves the other half to the others.
TASKS_IN_FLIGHT = 32


def warn_of_misspelt_settings() -> None:
    """Log each variable that looks like a setting and is none; once a process."""
    for found in misspelt(os.environ):
        log.warning("setting_ignored", setting=found.name, meant=found.meant)


def open_engine(stack: AsyncExitStack, settings: Settings) -> AsyncEngine:
    """Return the engine for Postgres; the stack closes it."""
    engine = create_engine(settings.database_url.get_secret_value())
    stack.push_async_callback(engine.dispose)
    return engine


def open_governor(stack: AsyncExitStack, engine: AsyncEngine, settings: Settings) -> RateGovernor:
    """Return the rate governor; the stack closes it."""
    quota = RedisRateLimiter(settings.redis_url.get_secret_value(), monotonic=clock.monotonic)
    stack.push_async_callback(quota.aclose)
    return RateGovernor(
        PostgresAccounts(engine),
        quota,
        quota_configs=quota_configs(settings),
        monotonic=clock.monotonic,
    )


def open_streams(stack: AsyncExitStack, settings: Settings) -> list[RedisStreamSink]:
    """Return the stream's sink if EVENT_SINKS names it; the stack closes it."""
    if "redis_stream" not in settings.event_sinks:
        return []
    # Deliveries beyond the pool's size wait for a connection instead of failing.
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=20,
        timeout=10,
        socket_timeout=5,
        socket_connect_timeout=5,
        health_check_interval=10,
        # One more try, at once: the pool's connections do not outlive a restart of the server.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError],
    )
    redis = Redis.from_pool(pool)
    stack.push_async_callback(redis.aclose)
    sink = RedisStreamSink(
        redis,
        stream=settings.event_stream,
        retention=timedelta(hours=settings.event_stream_retention_hours),
        monotonic=clock.monotonic,
    )
    return [sink]


def quota_configs(settings: Settings) -> dict[str, ReadQuotaConfig]:
    """Return the read quota of each configured account."""
    return {
        name: ReadQuotaConfig(
            limit=account.read_limit or usual_limit(account.base_url),
            share=settings.klarna_quota_share,
            fixed=account.read_limit is not None,
        )
        for name, account in settings.accounts.items()
    }


def routes(settings: Settings) -> list[Route]:
    """Return the configured sinks with their event types."""
    types = dict.fromkeys(SHOP_SYSTEMS, SHOP_SYSTEM_TYPES) | {
        name: frozenset(endpoint.events)
        for name, endpoint in settings.webhooks.items()
        if endpoint.events is not None
    }
    return [Route(sink=name, types=types.get(name)) for name in settings.delivery_sinks]


def confirmation_service(engine: AsyncEngine, settings: Settings) -> ConfirmationService:
    """Return the service that records orders and warns of missing ones."""
    return ConfirmationService(
        PostgresConfirmations(engine, routes=routes(settings)),
        clock_runs=settings.confirmation_expected,
        monotonic=clock.monotonic,
    )


def claim_limits(settings: Settings) -> ClaimLimits:
    """Return the limits of one account's claims."""
    return ClaimLimits(
        lease=settings.poll_lease_seconds,
        sessions_in_flight=settings.poll_in_flight_per_account,
        tasks_in_flight=TASKS_IN_FLIGHT,
        sessions_per_task=SESSIONS_PER_TASK,
    )


def poll_policy(settings: Settings) -> PollPolicy:
    """Return the policy of POLL_POLICY_FILE, scaled to POLL_REQUESTS_PER_SESSION.

    Raises:
        InvalidSettingsError: the file is invalid, or not calibrated for this number of requests.
    """
    try:
        policy = read_policy(settings.poll_policy_file or SHIPPED_POLICY)
    except JsonLinesError as error:
        raise InvalidSettingsError([f"POLL_POLICY_FILE: {error}"]) from None
    try:
        return policy.for_requests(settings.poll_requests_per_session)
    except ValueError as error:
        raise InvalidSettingsError([f"POLL_REQUESTS_PER_SESSION: {error}"]) from None
