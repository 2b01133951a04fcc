"""The stream of events, as its consumers find it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import redis
from redis.asyncio import Redis

from tests.support.events import ENVELOPE, NOBODY
from worker.adapters import clock
from worker.adapters.sinks.redis_stream import RedisStreamSink
from worker.services.errors import DeliveryError, UnavailableError

pytestmark = pytest.mark.anyio

STREAM = "the-events"


@pytest.fixture
def reader(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def sink(redis_url: str) -> AsyncIterator[RedisStreamSink]:
    async with Redis.from_url(redis_url) as client:
        yield RedisStreamSink(
            client, stream=STREAM, retention=timedelta(hours=1), monotonic=clock.monotonic
        )


@pytest.fixture
async def sink_without_server() -> AsyncIterator[RedisStreamSink]:
    async with Redis.from_url(NOBODY, retry=None) as client:
        yield RedisStreamSink(
            client, stream=STREAM, retention=timedelta(hours=1), monotonic=clock.monotonic
        )


async def test_an_entry_names_its_event_and_holds_the_cloud_event(
    sink: RedisStreamSink, reader: redis.Redis
):
    await sink.deliver(ENVELOPE)

    ((_, entry),) = reader.xrange(STREAM)
    assert {name: entry[name] for name in entry if name != b"event"} == {
        b"id": ENVELOPE["id"].encode(),
        b"type": b"payment_session.authorized",
        b"subject": b"s1",
    }
    assert json.loads(entry[b"event"]) == ENVELOPE


async def test_entries_stand_in_the_order_of_their_delivery(
    sink: RedisStreamSink, reader: redis.Redis
):
    for number in range(5):
        await sink.deliver(ENVELOPE | {"id": str(number)})

    assert [entry[b"id"] for _, entry in reader.xrange(STREAM)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_entries_older_than_the_retention_are_trimmed_and_younger_ones_are_not(
    sink: RedisStreamSink, reader: redis.Redis
):
    seconds, _ = reader.time()
    two_hours_ago, half_an_hour_ago = (seconds - 7200) * 1000, (seconds - 1800) * 1000
    # Trimming is approximate: it drops whole nodes of a hundred entries.
    for number in range(150):
        reader.xadd(STREAM, {"id": "old"}, id=f"{two_hours_ago + number}-0")
    reader.xadd(STREAM, {"id": "young"}, id=f"{half_an_hour_ago}-0")

    await sink.deliver(ENVELOPE)

    left = [entry[b"id"] for _, entry in reader.xrange(STREAM)]
    assert left.count(b"old") < 150
    assert left[-2:] == [b"young", ENVELOPE["id"].encode()]


async def test_a_stream_bears_the_mark_it_was_given(sink: RedisStreamSink, reader: redis.Redis):
    assert await sink.epoch() is None

    await sink.set_epoch("one")

    assert await sink.epoch() == "one"
    assert reader.xlen(STREAM) == 0


async def test_marking_keeps_what_is_in_the_stream_and_its_consumers(
    sink: RedisStreamSink, reader: redis.Redis
):
    await sink.deliver(ENVELOPE)
    reader.xgroup_create(STREAM, "shop", id="0")

    await sink.set_epoch("one")
    await sink.set_epoch("two")

    assert await sink.epoch() == "two"
    assert reader.xlen(STREAM) == 1
    names = {group["name"] for group in reader.xinfo_groups(STREAM)}
    assert names == {b"shop", b"generation:two"}


@pytest.mark.parametrize("loss", ["flushall", "stream", "mark"])
async def test_a_lost_stream_or_mark_is_noticed(
    sink: RedisStreamSink, reader: redis.Redis, loss: str
):
    await sink.set_epoch("one")
    await sink.deliver(ENVELOPE)

    match loss:
        case "flushall":
            reader.flushdb()
        case "stream":
            reader.delete(STREAM)
        case _:
            reader.xgroup_destroy(STREAM, "generation:one")

    assert await sink.epoch() is None


async def test_a_stream_that_was_lost_and_made_anew_has_lost_its_mark(
    sink: RedisStreamSink, reader: redis.Redis
):
    """By a delivery, or by a consumer that is quicker than the check."""
    await sink.set_epoch("one")
    reader.delete(STREAM)

    await sink.deliver(ENVELOPE)
    reader.xgroup_create(STREAM, "shop", id="0", mkstream=True)

    assert await sink.epoch() is None


async def test_a_stream_whose_server_is_away_takes_nothing_and_says_so(
    sink_without_server: RedisStreamSink,
):
    with pytest.raises(DeliveryError, match="redis: ConnectionError") as raised:
        await sink_without_server.deliver(ENVELOPE)
    assert "canary" not in str(raised.value)

    with pytest.raises(UnavailableError, match="redis: ConnectionError"):
        await sink_without_server.epoch()
    with pytest.raises(UnavailableError, match="redis: ConnectionError"):
        await sink_without_server.set_epoch("one")


async def test_a_key_of_another_type_takes_nothing(sink: RedisStreamSink, reader: redis.Redis):
    reader.set(STREAM, "no stream")

    with pytest.raises(DeliveryError, match="redis: "):
        await sink.deliver(ENVELOPE)
