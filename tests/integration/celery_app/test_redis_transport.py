"""kombu's Redis transport with one client to each channel: the same commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from kombu import Connection

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
