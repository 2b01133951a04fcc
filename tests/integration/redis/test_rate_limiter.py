"""Reads counted in Redis for all processes, and by each process while Redis is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import anyio
import pytest
import redis

from tests.support.tcp_proxy import TcpProxy
from worker.adapters.redis.rate_limiter import RETRY_SECONDS, RedisRateLimiter

pytestmark = pytest.mark.anyio

# A budget at which a test's own time gives next to nothing back: a burst of five.
BUDGET = 20.0
BURST = 5


class Time:
    """A monotonic clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
async def opened(redis_url: str) -> AsyncIterator[Callable[..., RedisRateLimiter]]:
    """Opens a quota as one more process has it."""
    made: list[RedisRateLimiter] = []

    def open_one(
        url: str = redis_url, monotonic: Callable[[], float] | None = None
    ) -> RedisRateLimiter:
        made.append(RedisRateLimiter(url, monotonic=monotonic or Time()))
        return made[-1]

    yield open_one
    for quota in made:
        await quota.aclose()


async def test_two_processes_share_one_budget(opened: Callable[..., RedisRateLimiter]):
    one, two = opened(), opened()

    assert await one.available("a", 0.1) == await two.available("a", 0.1) == 1
    assert await one.acquire("a", 0.1, 1) == 1
    assert await two.available("a", 0.1) == 0
    assert await two.acquire("a", 0.1, 1) == 0


async def test_looking_acquires_nothing(opened: Callable[..., RedisRateLimiter]):
    quota = opened()

    assert [await quota.available("a", BUDGET) for _ in range(3)] == [BURST] * 3


async def test_more_than_is_available_acquires_what_is_available(
    opened: Callable[..., RedisRateLimiter],
):
    quota = opened()

    assert await quota.acquire("a", 0.5, 100) == 1
    assert await quota.acquire("a", 0.5, 100) == 0
    assert await quota.acquire("a", 0.5, 0) == 0


async def test_many_at_once_never_acquire_more_than_the_burst(
    opened: Callable[..., RedisRateLimiter],
):
    """Each wants more than the burst of one. All are connected before, so that none is late."""
    quotas = [opened() for _ in range(8)]
    for quota in quotas:
        await quota.available("a", 0.9)
    acquired: list[int] = []

    async def acquire(quota: RedisRateLimiter) -> None:
        acquired.append(await quota.acquire("a", 0.9, 3))

    async with anyio.create_task_group() as group:
        for quota in quotas:
            group.start_soon(acquire, quota)

    assert sum(acquired) == 1


async def test_accounts_are_counted_apart(opened: Callable[..., RedisRateLimiter]):
    quota = opened()
    await quota.acquire("a", BUDGET, BURST)

    assert await quota.available("b", BUDGET) == BURST


async def test_a_budget_that_grows_continues_from_what_was_acquired(
    opened: Callable[..., RedisRateLimiter],
):
    """As it ramps up: no fresh burst with each step."""
    quota = opened()
    await quota.acquire("a", 0.1, 1)

    assert await quota.available("a", 0.2) == 0


async def test_reads_that_are_given_back_are_available_again_to_everybody(
    opened: Callable[..., RedisRateLimiter],
):
    """The process that gives them back does not know the budget, and makes no more of them."""
    one, other = opened(), opened()
    await one.acquire("a", 0.1, 1)
    assert await one.available("a", 0.1) == 0

    await other.give_back("a", 1)
    assert await one.available("a", 0.1) == 1
    await other.give_back("a", 5)
    assert await one.acquire("a", 0.1, 5) == 1


async def test_one_of_several_reads_is_given_back(opened: Callable[..., RedisRateLimiter]):
    quota = opened()
    await quota.acquire("a", 2.0, 2)
    before = await quota.available("a", 2.0)

    await quota.give_back("a", 1)

    assert await quota.available("a", 2.0) - before == 1


async def test_without_redis_nothing_is_given_back_and_nothing_raised(
    opened: Callable[..., RedisRateLimiter], redis_url: str
):
    with TcpProxy(redis_url) as proxy:
        quota = opened(proxy.url)
        proxy.refuse()

        await quota.give_back("a", 1)


async def test_a_clock_that_was_set_back_leaves_no_account_without_reads(
    opened: Callable[..., RedisRateLimiter], redis_url: str
):
    """What is counted stands at the old time, an hour ahead: it is counted anew."""
    quota = opened()
    await quota.acquire("a", BUDGET, BURST)
    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.keys("*quota*")
        client.set(key, float(client.get(key)) + 3600)

    assert await quota.acquire("a", BUDGET, 1) == 0
    assert await quota.available("a", BUDGET) == BURST
    assert await quota.acquire("a", BUDGET, BURST) == BURST
    assert await quota.acquire("a", BUDGET, BURST) == 0, "and it is counted"


async def test_a_read_of_a_small_budget_is_owed_for_as_long_as_it_takes(
    opened: Callable[..., RedisRateLimiter],
):
    quota = opened()
    await quota.acquire("a", 0.01, 1)

    assert await quota.available("a", 0.01) == 0


async def test_while_redis_is_away_a_process_goes_by_its_own_share_and_comes_back(
    opened: Callable[..., RedisRateLimiter], redis_url: str
):
    """The share is counted too; Redis is asked again after a while, not each time."""
    time = Time()
    with TcpProxy(redis_url) as proxy:
        quota = opened(proxy.url, monotonic=time)
        assert await quota.available("a", 80) == 20

        proxy.refuse()
        assert await quota.available("a", 80) == 5
        assert await quota.acquire("a", 80 / 100, 9) == 1
        assert await quota.acquire("a", 80 / 100, 9) == 0

        proxy.restore()
        assert await quota.available("a", 80) <= 5, "not asked yet"
        time.now += RETRY_SECONDS
        assert await quota.available("a", 80) == 20


async def test_a_redis_that_does_not_answer_costs_a_moment_only(
    opened: Callable[..., RedisRateLimiter], redis_url: str
):
    with TcpProxy(redis_url) as proxy:
        quota = opened(proxy.url)
        await quota.available("a", 80)
        proxy.drop()

        with anyio.fail_after(3):
            assert await quota.available("a", 80) == 5
