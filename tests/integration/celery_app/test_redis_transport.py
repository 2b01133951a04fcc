"""kombu's Redis transport with one client to each channel: the same commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.message import Message

from tests.support.eventually import eventually
from worker.celery_app.redis_transport import Channel, Transport


@pytest.fixture
def channel(redis_url: str) -> Iterator[Channel]:
    with Connection(redis_url, transport=Transport) as connection:
        yield connection.default_channel


def test_commands_share_a_client(channel: Channel):
    assert isinstance(channel, Channel)

    with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
        assert first is second
        assert first.ping()


def test_after_a_lost_connection_the_client_is_another(channel: Channel):
    with channel.conn_or_acquire() as before:
        assert before.ping()

    channel._disconnect_pools()  # noqa: SLF001 - as kombu does then

    with channel.conn_or_acquire() as after:
        assert after is not before
        assert after.ping()


def test_a_message_is_sent_and_taken(channel: Channel, redis_url: str):
    queue = channel.connection.client.SimpleQueue("a-queue")
    queue.put({"a": "message"})
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("a-queue") == 1

    message = queue.get(timeout=5)
    message.ack()

    assert message.payload == {"a": "message"}


def test_a_message_that_is_put_back_is_in_the_list_that_it_came_from(
    channel: Channel, redis_url: str
):
    """Whatever its sender says of the queue, and however another `sep` has spoilt the bindings."""
    sent = {
        "headers": None,
        "body": "{}",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "properties": {
            "delivery_tag": "a-tag",
            "delivery_info": {"exchange": "a-queue", "routing_key": "elsewhere"},
        },
    }
    received: list[Message] = []
    with redis.Redis.from_url(redis_url) as client:
        client.lpush("a-queue", json.dumps(sent))
        client.sadd("_kombu.binding.a-queue", "a-queue::a-queue")
        with Consumer(channel, [Queue("a-queue")], on_message=received.append, accept=["json"]):
            eventually(lambda: drained(channel) and received)
            received[0].requeue()

        assert client.llen("a-queue") == 1
        assert not client.exists("elsewhere")


def test_bindings_of_another_sep_disturb_nobody_who_sends_to_the_exchange(
    channel: Channel, redis_url: str
):
    queue = Queue("a-queue", Exchange("a-queue"), routing_key="a-queue")
    with redis.Redis.from_url(redis_url) as client:
        client.sadd("_kombu.binding.a-queue", "a-queue::a-queue")

        with Producer(channel) as producer:
            producer.publish({}, exchange=queue.exchange, routing_key="a-queue", declare=[queue])

        assert client.llen("a-queue") == 1


def drained(channel: Channel) -> bool:
    with suppress(TimeoutError):
        channel.connection.client.drain_events(timeout=1)
    return True


@pytest.mark.parametrize(
    ("option", "value", "usual"),
    [("min-replicas-to-write", 1, 0), ("maxmemory", 1, 0)],
    ids=["NOREPLICAS", "OOM"],
)
def test_a_server_that_takes_no_writes_now_is_a_lost_connection(
    redis_url: str, option: str, value: int, usual: int
):
    with (
        redis.Redis.from_url(redis_url) as client,
        Connection(redis_url, transport=Transport) as one,
    ):
        one.default_channel  # noqa: B018 - connects
        client.config_set(option, value)
        try:
            with pytest.raises(redis.ConnectionError) as raised:
                one.default_channel._put("a-queue", {"properties": {}})  # noqa: SLF001 - sends
        finally:
            client.config_set(option, usual)

        assert isinstance(raised.value, one.connection_errors)
        one.default_channel._put("a-queue", {"properties": {}})  # noqa: SLF001 - sends


def test_an_error_of_the_command_is_no_lost_connection(channel: Channel, redis_url: str):
    with redis.Redis.from_url(redis_url) as client:
        client.set("a-queue", "no list")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        channel._put("a-queue", {"properties": {}})  # noqa: SLF001 - sends
