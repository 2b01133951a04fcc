"""Relaying over the real outbox and sinks: in order, at least once, nobody waits for another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anyio
import psycopg
import pytest
import redis
from cryptography.fernet import Fernet

from tests.support.queues import relays, taken
from tests.support.stored import Stored
from tests.support.wired import OpenServices, eventually_beside

pytestmark = pytest.mark.anyio

STREAM = "payment-session-events"
AUTHORIZED = "payment_session.authorized"
BOTH = {"EVENT_SINKS": "redis_stream,celery", "CELERY_EVENT_QUEUE": "shop"}
SINKS = ("redis_stream", "celery")
UNDELIVERED = "SELECT count(*) FROM outbox_deliveries WHERE delivered_at IS NULL"


@pytest.fixture
def reader(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def received(reader: redis.Redis) -> list[dict[str, Any]]:
    return [json.loads(entry[b"event"]) for _, entry in reader.xrange(STREAM)]


def received_ids(reader: redis.Redis) -> list[str]:
    return [event["id"] for event in received(reader)]


async def test_a_sessions_messages_reach_every_sink_in_their_order(
    services: OpenServices, stored: Stored, reader: redis.Redis, redis_url: str
):
    stored.add_session("s1")
    ids = [str(stored.add_message("s1", n, sinks=SINKS)) for n in (1, 2, 3)]

    async with services(**BOTH) as opened:
        await opened.relay.relay(["s1"])

    assert received_ids(reader) == ids
    assert [message.payload[0][0]["id"] for message in taken(redis_url, "shop")] == ids
    assert stored.value(UNDELIVERED) == 0


async def test_the_token_joins_its_event_on_the_way_out(
    services: OpenServices, stored: Stored, reader: redis.Redis, environment: dict[str, str]
):
    key = Fernet(environment["TOKEN_ENCRYPTION_KEYS"])
    stored.add_session("s1", authorization_token=key.encrypt(b"the-token"))
    stored.add_message("s1", 1, event_type=AUTHORIZED)
    stored.add_message("s1", 2)

    async with services() as opened:
        await opened.relay.relay(["s1"])

    authorized, other = received(reader)
    assert authorized["data"] == {"session_id": "s1", "authorization_token": "the-token"}
    assert other["data"] == {"session_id": "s1"}


async def test_a_token_that_does_not_decrypt_delays_only_its_own_session(
    services: OpenServices, stored: Stored, reader: redis.Redis
):
    stored.add_session("s1", authorization_token=Fernet(Fernet.generate_key()).encrypt(b"lost"))
    stored.add_session("s2")
    unreadable = stored.add_message("s1", 1, event_type=AUTHORIZED)
    stored.add_message("s1", 2)
    sound = stored.add_message("s2", 1)

    async with services() as opened:
        await opened.relay.relay(["s1", "s2"])

    assert received_ids(reader) == [str(sound)]
    row = stored.delivery(unreadable)
    assert row["last_error"].startswith("the authorization token does not decrypt")
    assert (row["attempts"], row["delivered_at"], row["dead_at"]) == (1, None, None)


async def test_a_sink_that_fails_is_tried_again_and_delays_no_other(
    services: OpenServices, stored: Stored, reader: redis.Redis, redis_url: str
):
    stored.add_session("s1")
    ids = [str(stored.add_message("s1", n, sinks=SINKS)) for n in (1, 2)]
    reader.set(STREAM, "no stream")

    async with services(**BOTH) as opened:
        await opened.relay.relay(["s1"])
        assert len(taken(redis_url, "shop")) == 2
        assert stored.value(UNDELIVERED) == 2

        reader.delete(STREAM)
        await opened.relay.relay(["s1"])
        assert not reader.exists(STREAM)
        stored.make_deliveries_due()
        await opened.relay.relay(["s1"])

    assert received_ids(reader) == ids


async def test_a_fault_of_ours_at_one_event_delays_no_other_session(
    services: OpenServices, stored: Stored, reader: redis.Redis
):
    stored.add_session("s1")
    stored.add_session("s2")
    broken = stored.add_message("s1", 1)
    sound = stored.add_message("s2", 1)
    stored.rows("UPDATE outbox_messages SET payload = '{}' WHERE event_id = %s", broken)

    async with services() as opened:
        await opened.relay.relay(["s1", "s2"])

    assert received_ids(reader) == [str(sound)]
    assert stored.delivery(broken)["last_error"] == "KeyError"


# --- a lost stream


async def test_what_a_lost_stream_held_comes_again_under_its_ids(
    services: OpenServices, stored: Stored, reader: redis.Redis
):
    stored.add_session("s1")
    ids = [str(stored.add_message("s1", n)) for n in (1, 2)]

    async with services() as opened:
        await opened.streams.redeliver_lost()
        await opened.relay.relay(["s1"])
        await opened.streams.redeliver_lost()
        assert stored.value(UNDELIVERED) == 0

        reader.flushdb()
        await opened.streams.redeliver_lost()
        assert stored.value(UNDELIVERED) == 2
        await opened.relay.relay(["s1"])
        await opened.streams.redeliver_lost()

    assert received_ids(reader) == ids
    assert stored.value(UNDELIVERED) == 0


async def test_beat_notices_a_lost_stream_and_has_it_sent_again(
    services: OpenServices, stored: Stored, reader: redis.Redis, redis_url: str
):
    stored.add_message(stored.add_session("s1", due_in=600), 1)
    async with services() as opened:
        await opened.streams.redeliver_lost()
        await opened.relay.relay(["s1"])
    reader.flushdb()

    async with services() as opened:
        await opened.dispatch.tick()
    async with services() as restarted:
        await restarted.dispatch.tick()

    assert relays(redis_url) == [["s1"]]


async def test_two_that_notice_a_lost_stream_at_once_send_it_again_once(
    services: OpenServices, stored: Stored, reader: redis.Redis, database_url: str
):
    stored.add_message(stored.add_session("s1"), 1)
    async with services() as opened:
        await opened.streams.redeliver_lost()
        await opened.relay.relay(["s1"])
        reader.flushdb()

        with psycopg.connect(database_url) as locking:
            locking.execute("LOCK TABLE stream_generations IN EXCLUSIVE MODE")
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(opened.streams.redeliver_lost)
                await eventually_beside(lambda: waiting_for_locks(stored) == 2)
                locking.rollback()
        await opened.streams.redeliver_lost()

    (group,) = reader.xinfo_groups(STREAM)
    mark = group["name"].decode().removeprefix("generation:")
    assert stored.value("SELECT generation FROM stream_generations") == mark
    assert stored.value(UNDELIVERED) == 1


async def test_without_a_stream_there_is_none_to_lose(
    services: OpenServices, stored: Stored, reader: redis.Redis
):
    async with services(EVENT_SINKS="celery", CELERY_EVENT_QUEUE="shop") as opened:
        await opened.streams.redeliver_lost()
        assert opened.relay.sinks == ["celery"]

    assert not reader.exists(STREAM)
    assert stored.rows("SELECT * FROM stream_generations") == []


def waiting_for_locks(stored: Stored) -> int:
    return int(
        stored.value(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )
