"""Task messages as they stand in the broker, and what its absence is called."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery

from devkit.embedded import EmbeddedServers
from tests.support.queues import EVENTS, POLLS, taken
from tests.support.wired import deployed
from worker.adapters.celery_publisher import CeleryPublisher
from worker.services.errors import UnavailableError
from worker.services.sessions import PollTask

pytestmark = pytest.mark.anyio

TASK = PollTask(account="default", lease_id=uuid4(), session_ids=("s1", "s2"))
EVERYTHING: dict[str, Callable[[CeleryPublisher], Coroutine[Any, Any, object]]] = {
    "polls": lambda publisher: publisher.send_polls([TASK]),
    "relay": lambda publisher: publisher.send_relay(["s1"]),
    "waiting": lambda publisher: publisher.waiting(),
}


@pytest.fixture
def app(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    _, made = deployed(environment, monkeypatch)
    with made:
        yield made


@pytest.fixture
def publisher(app: Celery) -> CeleryPublisher:
    return CeleryPublisher(app)


async def test_a_poll_is_sent_as_ids_and_its_lease(publisher: CeleryPublisher, redis_url: str):
    other = PollTask(account="other", lease_id=uuid4(), session_ids=("s3",))

    await publisher.send_polls([TASK, other])

    messages = taken(redis_url, POLLS)
    assert {message.headers["task"] for message in messages} == {"payment_sessions.poll"}
    assert [message.payload[:2] for message in messages] == [
        [[["s1", "s2"], str(TASK.lease_id)], {}],
        [[["s3"], str(other.lease_id)], {}],
    ]
    assert {message.headers["expires"] for message in messages} == {None}
    assert {message.headers["eta"] for message in messages} == {None}


async def test_a_relay_is_sent_as_the_ids_of_its_sessions(
    publisher: CeleryPublisher, redis_url: str
):
    await publisher.send_relay(["s1", "s2"])

    (message,) = taken(redis_url, EVENTS)
    assert message.headers["task"] == "payment_sessions.relay"
    assert message.payload[:2] == [[["s1", "s2"]], {}]


async def test_what_waits_is_counted_by_queue(app: Celery, publisher: CeleryPublisher):
    assert await publisher.waiting() == {"tracks": 0, "polls": 0, "events": 0}

    await publisher.send_polls([TASK, TASK])
    await publisher.send_relay(["s1"])
    app.send_task("payment_sessions.track", args=["s1"], queue="payment-sessions")

    assert await publisher.waiting() == {"tracks": 1, "polls": 2, "events": 1}


async def test_every_priority_step_is_counted(publisher: CeleryPublisher, redis_url: str):
    with Celery("shop", broker=redis_url, set_as_current=False) as shop:
        shop.conf.broker_transport_options = {"priority_steps": list(range(10))}
        for priority in range(10):
            shop.send_task("a-task", queue="payment-sessions", priority=priority)

    assert await publisher.waiting() == {"tracks": 10, "polls": 0, "events": 0}


@pytest.mark.parametrize("call", EVERYTHING.values(), ids=EVERYTHING.keys())
async def test_a_broker_that_is_away_is_unavailable(
    app: Celery, call: Callable[[CeleryPublisher], Coroutine[Any, Any, object]]
):
    app.conf.broker_url = "redis://:hidden@127.0.0.1:1/0"

    with pytest.raises(UnavailableError, match=r"^broker: \w+$") as raised:
        await call(CeleryPublisher(app))

    assert raised.value.__suppress_context__


@pytest.mark.parametrize("call", EVERYTHING.values(), ids=EVERYTHING.keys())
async def test_a_broker_that_refuses_is_unavailable(
    publisher: CeleryPublisher,
    redis_url: str,
    call: Callable[[CeleryPublisher], Coroutine[Any, Any, object]],
):
    with redis.Redis.from_url(redis_url) as client:
        for queue in (POLLS, EVENTS):
            client.set(queue, "no list: as good as out of memory, or a read-only replica")

    with pytest.raises(UnavailableError, match=r"^broker: \w+$"):
        await call(publisher)


async def test_a_broker_that_goes_away_between_two_batches_is_unavailable_and_then_back(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """The connection in the pool is a broken one then, which only the write finds out."""
    with EmbeddedServers(postgres=False) as servers:
        _, app = deployed(environment | {"REDIS_URL": servers.redis_url}, monkeypatch)
        publisher = CeleryPublisher(app)
        await publisher.send_polls([TASK])

        servers.kill("valkey")
        with pytest.raises(UnavailableError, match=r"^broker: \w+$"):
            await publisher.send_polls([TASK])

        servers.start_again("valkey")
        await publisher.send_polls([TASK])
        app.close()

        assert len(taken(servers.redis_url, POLLS)) >= 1
