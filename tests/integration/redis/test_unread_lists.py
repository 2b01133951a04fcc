"""Lists that no worker reads, as kombu writes them for an app with other settings than ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery

from worker.adapters.redis.unread_lists import unread_lists

TRACK = "payment_sessions.track"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def send(
    redis_url: str, *, priority: int = 0, queue: str = "payment-sessions", **options: object
) -> None:
    """Send as a shop whose app has these `broker_transport_options`."""
    with Celery("shop", broker=redis_url, set_as_current=False) as shop:
        shop.conf.broker_transport_options = options
        shop.send_task(TRACK, args=["a-session"], queue=queue, priority=priority)


@pytest.mark.parametrize(
    ("options", "priority", "change"),
    [
        ({"sep": ":"}, 3, "`sep` (':')"),
        ({"sep": "-", "priority_steps": list(range(10))}, 7, "`sep` ('-')"),
        ({"sep": ""}, 9, "`sep` ('')"),
        ({"global_keyprefix": "shop:"}, 0, "`global_keyprefix` ('shop:')"),
        ({"global_keyprefix": "celery"}, 6, "`global_keyprefix` ('celery')"),
    ],
)
def test_a_list_of_another_setting_is_found_with_what_to_change(
    client: redis.Redis, redis_url: str, options: dict[str, Any], priority: int, change: str
):
    for _ in range(2):
        send(redis_url, priority=priority, **options)

    (found,) = unread_lists(client)

    assert found.messages == client.llen(found.key) == 2
    assert found.change == f"remove {change} from broker_transport_options"


def test_a_misspelt_queue_is_found(client: redis.Redis, redis_url: str):
    send(redis_url, queue="payment_sessions")

    (found,) = unread_lists(client)

    assert found == ("payment_sessions", 1, "send to the queue payment-sessions")


@pytest.mark.parametrize("strategy", ["round_robin", "sorted", "priority"])
@pytest.mark.parametrize("priority", range(10))
def test_what_a_worker_reads_is_not_named(
    client: redis.Redis, redis_url: str, priority: int, strategy: str
):
    steps = list(range(10))
    send(redis_url, priority=priority, priority_steps=steps, queue_order_strategy=strategy)
    client.set("payment-sessions:1", "no list")

    assert unread_lists(client) == []


def test_a_user_who_may_not_look_everywhere_gets_what_may_be_seen(
    client: redis.Redis, redis_url: str
):
    send(redis_url, priority=3, sep=":")
    send(redis_url, global_keyprefix="shop:")
    rights = ("on", "nopass", "resetkeys", "~payment-session*", "+llen", "+@connection")
    client.execute_command("ACL SETUSER", "few-rights", *rights)
    client.acl_log_reset()

    place = redis_url.rpartition("@")[2]
    with redis.Redis.from_url(f"redis://few-rights:any@{place}") as restricted:
        found = unread_lists(restricted)

    assert [each.key for each in found] == ["payment-sessions:3"]
    assert len(client.acl_log()) == 2
    client.acl_deluser("few-rights")
