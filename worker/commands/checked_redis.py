"""check's look at Redis and the broker: reached, new enough, and keeping what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from config.settings import Settings
from worker.commands.findings import Finding

OLDEST_VERSION = (6, 2)


def check_redis(settings: Settings) -> Iterator[Finding]:
    """One line, or one for each fault."""
    try:
        with redis.Redis.from_url(
            settings.redis_url.get_secret_value(), socket_timeout=5, socket_connect_timeout=5
        ) as client:
            told: Mapping[str, Any] = client.info()
    except redis.RedisError as error:
        yield Finding("redis", _unreachable(error))
        return
    right = Finding("redis", detail=f"version {told['redis_version']}")
    yield from [Finding("redis", fault) for fault in faults_of(told)] or [right]


def faults_of(told: Mapping[str, Any]) -> Iterator[str]:
    """Return what INFO tells that is not right for a broker; what it does not tell is right."""
    version = str(told["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION:
        yield f"is version {version}: 6.2 or later is needed"
    policy = told.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield (
            f"drops keys when its memory is full ({policy}), and enqueued sessions with them: set "
            "`maxmemory-policy noeviction`"
        )
    if not told.get("aof_enabled", 1) and not told.get("connected_slaves", 0):
        yield (
            "has enqueued sessions and events in memory alone: set `appendonly yes`, or give it a "
            "replica"
        )


def check_broker(settings: Settings) -> Finding:
    """One attempt and no pool: what the publishers would retry must be told here."""
    probe = Celery("check", broker=settings.effective_broker_url, set_as_current=False)
    try:
        with probe.connection_for_write(connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            return Finding("broker", detail=connection.transport.driver_type)
    except (OperationalError, OSError):
        name = "BROKER_URL" if settings.broker_url else "REDIS_URL"
        right = "is it up, and are host, port and password right?"
        return Finding("broker", f"cannot be reached by {name}: {right}")


def _unreachable(error: redis.RedisError) -> str:
    if isinstance(error, redis.exceptions.AuthenticationError):
        return "refuses the password in REDIS_URL, or wants one: redis://:password@host:port/0"
    if isinstance(error, redis.exceptions.NoPermissionError):
        return "does not let REDIS_URL's user ask INFO: give it `+@all`, or `+info` at least"
    if isinstance(error, redis.TimeoutError):
        return "does not answer in time: is there a firewall between, and is REDIS_URL right?"
    if isinstance(error, redis.ConnectionError):
        return "is not there: is it up, and are host and port in REDIS_URL right?"
    return f"does not answer as Redis does ({type(error).__name__}): is REDIS_URL right?"
