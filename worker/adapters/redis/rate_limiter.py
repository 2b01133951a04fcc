"""Reads counted for all processes at once, by Redis' clock, evenly in time (GCRA).

It decides no budget. While Redis is away each process counts its own share of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import anyio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from throttled.asyncio import (
    BaseRateLimiter,
    BaseStore,
    MemoryStore,
    RateLimiterRegistry,
    RedisStore,
    per_duration,
)
from throttled.exceptions import BaseThrottledError

from worker.domain.quota import LEAST_BUDGET, burst

log = structlog.get_logger(__name__)

KEY_PREFIX = "payment-sessions:quota"
# A tick waits for the answer; without one it goes by its own share, and asks again a while later.
ANSWER_SECONDS = 0.25
ASK_AGAIN_SECONDS = 1.0
# What a process takes on itself while nobody counts for all; there are a few of them.
LOCAL_SHARE = 0.25
LIMITERS_KEPT = 100
# The limiter takes whole numbers: so many a thousand seconds.
_PERIOD = timedelta(seconds=1000)
_GCRA: type[BaseRateLimiter] = RateLimiterRegistry.get("gcra")

Answer = TypeVar("Answer")


class RedisRateLimiter:
    """Implements the port `Quota`; `monotonic` returns seconds."""

    def __init__(self, redis_url: str, *, monotonic: Callable[[], float]) -> None:
        self._shared = RedisStore(
            redis_url,
            {
                "SOCKET_TIMEOUT": ANSWER_SECONDS,
                "SOCKET_CONNECT_TIMEOUT": ANSWER_SECONDS,
                # One more try, at once: a connection does not outlive a restart of the server.
                "CONNECTION_POOL_KWARGS": {
                    "health_check_interval": 10,
                    "retry": Retry(NoBackoff(), 1),
                },
            },
        )
        self._local = MemoryStore()
        self._monotonic = monotonic
        self._away_until = float("-inf")
        self._limiters: dict[BaseStore, dict[float, BaseRateLimiter]] = {}

    async def aclose(self) -> None:
        """Close the connections."""
        client: Any = self._shared._backend.get_client()  # noqa: SLF001 - it has no way to close
        await client.connection_pool.disconnect()

    async def room(self, account: str, budget: float) -> int:
        """Return how many reads may be sent now; takes none of them."""

        async def peek(limiter: BaseRateLimiter) -> int:
            state = await limiter.peek(account)
            if state.reset_after > _longest_debt(budget):
                await self._forgive(limiter, account, state.reset_after)
                state = await limiter.peek(account)
            return state.remaining

        return await self._counted(budget, peek)

    async def take(self, account: str, budget: float, count: int) -> int:
        """Take up to `count` reads; returns how many were left to take."""

        async def take(limiter: BaseRateLimiter) -> int:
            wanted = count
            while wanted > 0:
                taken = await limiter.limit(account, wanted)
                if not taken.limited:
                    return wanted
                # Others were faster: what is left is asked for, which is less each time.
                wanted = min(wanted - 1, taken.state.remaining)
            return 0

        return await self._counted(budget, take)

    async def _counted(
        self, budget: float, ask: Callable[[BaseRateLimiter], Awaitable[Answer]]
    ) -> Answer:
        if self._monotonic() >= self._away_until:
            try:
                with anyio.fail_after(ANSWER_SECONDS * 3):
                    answer = await ask(self._limiter(self._shared, budget))
            except (BaseThrottledError, OSError) as error:
                self._away_until = self._monotonic() + ASK_AGAIN_SECONDS
                cause = error.__cause__ or error
                log.warning("rate_limiter_degraded", error=type(cause).__name__)
            else:
                return answer
        return await ask(self._limiter(self._local, budget * LOCAL_SHARE))

    async def _forgive(self, limiter: BaseRateLimiter, account: str, owed: float) -> None:
        """Begin the count anew: no reads are paid for so far ahead, the clock was set back."""
        log.warning("rate_limiter_reset", account=account, owed_seconds=round(owed))
        key = limiter._prepare_key(account)  # noqa: SLF001 - it has no way to reset
        await self._shared.set(key, 0, 1)

    def _limiter(self, store: BaseStore, budget: float) -> BaseRateLimiter:
        """The limiter of a budget; kept while budgets stand still, made anew while they grow."""
        known = self._limiters.setdefault(store, {})
        if budget not in known:
            if len(known) >= LIMITERS_KEPT:
                known.clear()
            a_thousand_seconds = max(1, round(budget * _PERIOD.total_seconds()))
            quota = per_duration(_PERIOD, a_thousand_seconds, burst(budget))
            known[budget] = _GCRA(quota, store, key_prefix=KEY_PREFIX)
        return known[budget]


def _longest_debt(budget: float) -> float:
    """Seconds: more than what may have been taken of any budget not long ago takes to earn."""
    return 2 / min(budget, LEAST_BUDGET)
