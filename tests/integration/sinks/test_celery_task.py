"""Events as Celery tasks for the shop's own workers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import redis
from celery import Celery
from kombu import Connection, pools

from tests.support.events import ENVELOPE, NOBODY
from worker.adapters.sinks.celery_task import CeleryTaskSink
from worker.services.errors import DeliveryError

pytestmark = pytest.mark.anyio

POOL_LIMIT = 64


@pytest.fixture
def reader(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def celery_sink(broker_url: str, **transport_options: object) -> CeleryTaskSink:
    return CeleryTaskSink(
        broker_url,
        task="shop.payment_event",
        queue="shop-queue",
        transport_options=transport_options,
        pool_limit=POOL_LIMIT,
    )


async def test_the_shops_task_gets_the_cloud_event_as_its_one_argument(redis_url: str):
    sink = celery_sink(redis_url)

    await sink.deliver(ENVELOPE)
    sink.close()

    with Connection(redis_url) as connection:
        message = connection.SimpleQueue("shop-queue").get(block=False)
        message.ack()
    args, kwargs, _ = message.payload
    assert (message.headers["task"], message.content_type) == (
        "shop.payment_event",
        "application/json",
    )
    assert (args, kwargs) == ([ENVELOPE], {})


async def test_what_monitors_show_of_the_shops_task_is_the_events_id(redis_url: str):
    sink = celery_sink(redis_url)

    await sink.deliver(ENVELOPE)
    sink.close()

    with Connection(redis_url) as connection:
        message = connection.SimpleQueue("shop-queue").get(block=False)
        message.ack()
    assert message.headers["argsrepr"] == f"('{ENVELOPE['id']}',)"
    assert message.headers["kwargsrepr"] == "{}"
    assert "canary" not in json.dumps(message.headers, default=str)


async def test_our_own_workers_never_come_to_consume_the_shops_queue(redis_url: str):
    """Publishing declares the queue in the publishing app, so that must not be ours."""
    with Celery("worker", broker=redis_url) as ours:
        ours.set_current()
        before = set(ours.amqp.queues)
        sink = celery_sink(redis_url)

        await sink.deliver(ENVELOPE)
        sink.close()

        assert set(ours.amqp.queues) == before
        assert "shop-queue" not in ours.amqp.queues


async def test_the_sink_leaves_the_limit_of_connections_as_it_is(redis_url: str):
    """Kombu has one limit for all apps of a process, and would use the sink's."""
    sink = celery_sink(redis_url)

    await sink.deliver(ENVELOPE)
    sink.close()

    assert pools.get_limit() == POOL_LIMIT


async def test_a_broker_that_is_away_takes_nothing_and_says_so():
    sink = celery_sink(NOBODY, socket_connect_timeout=1)

    with pytest.raises(DeliveryError, match="broker: OperationalError") as raised:
        await sink.deliver(ENVELOPE)
    sink.close()

    assert "canary" not in str(raised.value)


async def test_a_broker_that_refuses_the_message_takes_nothing_and_says_so(
    redis_url: str, reader: redis.Redis
):
    reader.set("shop-queue", "no list: as good as out of memory, or a read-only replica")
    sink = celery_sink(redis_url)

    with pytest.raises(DeliveryError, match="broker: "):
        await sink.deliver(ENVELOPE)
    sink.close()
