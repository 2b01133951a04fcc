"""check's findings about Redis and the broker: connection, version, persistence."""

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
    """Return one finding, or one for each fault."""
    try:
        with redis.Redis.from_url(
            settings.redis_url.get_secret_value(), socket_timeout=5, socket_connect_timeout=5
        ) as client:
            info: Mapping[str, Any] = client.info()
    except redis.RedisError as error:
        yield Finding("redis", _unreachable(error))
        return
    fine = Finding("redis", detail=f"version {info['redis_version']}")
    yield from [Finding("redis", fault) for fault in faults_of(info)] or [fine]


def faults_of(info: Mapping[str, Any]) -> Iterator[str]:
    """Return what Redis' INFO shows to be wrong for a broker; a missing field is no fault."""
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION:
        yield f"is version {version}: 6.2 or later is needed"
    if info.get("role", "master") != "master":
        yield "is a replica, which accepts no writes: name the primary"
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield (
            f"evicts keys when its memory is full ({policy}), queued messages among them: set "
            "`maxmemory-policy noeviction`"
        )
    if not info.get("aof_enabled", 1) and not info.get("connected_slaves", 0):
        yield (
            "keeps queued messages and events only in memory: set `appendonly yes`, or add a "
            "replica"
        )


def check_broker(settings: Settings) -> Finding:
    """Connect once, without the retries that publishers make."""
    probe = Celery("check", broker=settings.effective_broker_url, set_as_current=False)
    try:
        with probe.connection_for_write(connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            return Finding("broker", detail=connection.transport.driver_type)
    except (OperationalError, OSError):
        name = "BROKER_URL" if settings.broker_url else "REDIS_URL"
        check = "is it running, and are host, port and password correct?"
        return Finding("broker", f"cannot be reached: {check} ({name})")


def _unreachable(error: redis.RedisError) -> str:
    if isinstance(error, redis.exceptions.AuthenticationError):
        return "refuses the password in REDIS_URL, or needs one: redis://:password@host:port/0"
    if isinstance(error, redis.exceptions.NoPermissionError):
        return "does not let REDIS_URL's user run INFO: grant `+@all`, or at least `+info`"
    if isinstance(error, redis.TimeoutError):
        return "connection timed out: is there a firewall, and is REDIS_URL correct?"
    if isinstance(error, redis.ConnectionError):
        what = "connection refused" if "refused" in str(error).lower() else "cannot be reached"
        return f"{what}: is it running, and are host and port in REDIS_URL correct?"
    return f"does not respond like Redis ({type(error).__name__}): is REDIS_URL correct?"
