"""Counts the reads of all processes in Redis, by Redis' clock, evenly in time (GCRA).

It sets no budget. While Redis is away, each process counts its own share of the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from worker.domain.quota import LEAST_BUDGET, burst

log = structlog.get_logger(__name__)

KEY_PREFIX = "payment-sessions:quota"
# The seconds that a read of the account uses up, for processes that do not know its budget.
INTERVAL_KEY_PREFIX = "payment-sessions:read-interval"
# A tick waits for the answer. Without one, the local share is used for RETRY_SECONDS.
ANSWER_SECONDS = 0.25
RETRY_SECONDS = 1.0
# The share of one process while Redis is away; a deployment has a few processes.
LOCAL_SHARE = 0.25

# The key holds the moment until which the acquired reads use up the budget (GCRA's theoretical
# arrival time), in seconds of Redis' clock. Every read adds `interval` to it; it may be at most
# `burst` intervals ahead. Returns the available reads, how many were acquired, and how far ahead
# the moment was if that was impossible: the clock was set back. Only a look resets it.
_GCRA = """
local interval, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local ahead = math.max((tonumber(redis.call('GET', KEYS[1])) or now) - now, 0)
local reset = 0
if wanted == 0 and ahead > tonumber(ARGV[4]) then
    redis.call('DEL', KEYS[1])
    ahead, reset = 0, ahead
end
local available = math.max(math.floor(burst - ahead / interval), 0)
local acquired = math.min(wanted, available)
if acquired > 0 then
    ahead = ahead + acquired * interval
    local milliseconds = math.ceil(ahead * 1000)
    redis.call('SET', KEYS[1], string.format('%.6f', now + ahead), 'PX', milliseconds)
    redis.call('SET', KEYS[2], string.format('%.6f', interval), 'PX', milliseconds)
end
return {available, acquired, math.floor(reset)}
"""
# Nothing is left to give back where the acquired reads are over.
_GIVE_BACK = """
local until_time = tonumber(redis.call('GET', KEYS[1]))
local interval = tonumber(redis.call('GET', KEYS[2]))
if not until_time or not interval then
    return 0
end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local ahead = until_time - now - interval * tonumber(ARGV[1])
if ahead > 0 then
    redis.call(
        'SET', KEYS[1], string.format('%.6f', now + ahead), 'PX', math.ceil(ahead * 1000)
    )
else
    redis.call('DEL', KEYS[1])
end
return 1
"""


@dataclass(frozen=True, slots=True)
class _Count:
    """The script's answer."""

    available: int
    acquired: int
    reset_seconds: int


class RedisRateLimiter:
    """Implements the port `Quota`; `monotonic` returns seconds."""

    def __init__(self, redis_url: str, *, monotonic: Callable[[], float]) -> None:
        self._redis = Redis.from_url(
            redis_url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            health_check_interval=10,
            # One more try, at once: a connection does not outlive a restart of the server.
            retry=Retry(NoBackoff(), 1),
        )
        self._script = self._redis.register_script(_GCRA)
        self._give_back_script = self._redis.register_script(_GIVE_BACK)
        self._local = _LocalRateLimiter(monotonic)
        self._monotonic = monotonic
        self._away_until = float("-inf")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def available(self, account: str, budget: float) -> int:
        """Return how many reads may be sent now; acquires none."""
        count = await self._count(account, budget, wanted=0)
        if count is None:
            return self._local.available(account, budget * LOCAL_SHARE)
        if count.reset_seconds:
            log.warning("rate_limiter_reset", account=account, owed_seconds=count.reset_seconds)
        return count.available

    async def acquire(self, account: str, budget: float, count: int) -> int:
        """Acquire up to `count` reads; returns how many were acquired."""
        if not count:
            return 0
        counted = await self._count(account, budget, wanted=count)
        if counted is None:
            return self._local.acquire(account, budget * LOCAL_SHARE, count)
        return counted.acquired

    async def give_back(self, account: str, count: int) -> None:
        """Give back `count` reads that another process acquired and this one does not send."""
        await self._run(self._give_back_script, account, count)

    async def _count(self, account: str, budget: float, *, wanted: int) -> _Count | None:
        """Run the script; None while Redis is away."""
        answer = await self._run(
            self._script, account, 1 / budget, burst(budget), wanted, _longest_ahead(budget)
        )
        return _Count(*answer) if answer is not None else None

    async def _run(self, script: AsyncScript, account: str, *arguments: float) -> Any:  # noqa: ANN401 - redis-py's
        """Run a script on the account's keys; None while Redis is away."""
        if self._monotonic() < self._away_until:
            return None
        try:
            with anyio.fail_after(ANSWER_SECONDS * 3):
                return await script(
                    keys=[f"{KEY_PREFIX}:{account}", f"{INTERVAL_KEY_PREFIX}:{account}"],
                    args=list(arguments),
                )
        except (RedisError, OSError) as error:
            self._away_until = self._monotonic() + RETRY_SECONDS
            log.warning("rate_limiter_degraded", error=type(error).__name__)
            return None


class _LocalRateLimiter:
    """Counts the reads of this process, by the same rule as the script."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        # By account: the moment until which the acquired reads use up the budget.
        self._used_until: dict[str, float] = {}

    def available(self, account: str, budget: float) -> int:
        return max(math.floor(burst(budget) - self._ahead(account) * budget), 0)

    def acquire(self, account: str, budget: float, count: int) -> int:
        acquired = min(count, self.available(account, budget))
        ahead = self._ahead(account) + acquired / budget
        self._used_until[account] = self._monotonic() + ahead
        return acquired

    def _ahead(self, account: str) -> float:
        return max(self._used_until.get(account, -math.inf) - self._monotonic(), 0.0)


def _longest_ahead(budget: float) -> float:
    """Seconds: more than the reads of any budget that the account had lately can use up."""
    return 2 / min(budget, LEAST_BUDGET)
