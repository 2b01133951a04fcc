"""What becomes of a message that anything may have pushed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kombu.transport.virtual import Channel

from worker.celery_app.redis_messages import UnreadableMessageError, check, completed

QUEUE = "payment-sessions"
DELIVERY = {"exchange": "", "routing_key": QUEUE}
MESSAGE: dict[str, Any] = {
    "body": "W10=",
    "headers": {"task": "payment_sessions.track", "id": "an-id"},
    "properties": {"body_encoding": "base64", "delivery_tag": "a-tag", "delivery_info": DELIVERY},
}


class Codecs:
    """As much of a channel as decodes a body."""

    codecs = Channel.codecs
    decode_body = Channel.decode_body


decode_body = Codecs().decode_body


def result(message: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(completed(json.dumps(message).encode(), QUEUE, decode_body))
    return found


def with_properties(**changed: object) -> dict[str, Any]:
    return MESSAGE | {"properties": MESSAGE["properties"] | changed}


@pytest.mark.parametrize(
    "message",
    [
        MESSAGE,
        MESSAGE | {"headers": {}},
        with_properties(delivery_info={"exchange": QUEUE, "routing_key": QUEUE}),
        with_properties(priority=5, delivery_tag=17),
    ],
)
def test_what_kombu_reads_is_left_as_it_is(message: dict[str, Any]):
    item = json.dumps(message).encode()

    assert completed(item, QUEUE, decode_body) is item


@pytest.mark.parametrize(
    ("message", "name", "value"),
    [
        (with_properties(delivery_info=None), "delivery_info", DELIVERY),
        (with_properties(delivery_info={}), "delivery_info", DELIVERY),
        (
            with_properties(delivery_info={"exchange": "", "routing_key": "celery"}),
            "delivery_info",
            DELIVERY,
        ),
        (
            with_properties(delivery_info={"exchange": [], "routing_key": QUEUE}),
            "delivery_info",
            DELIVERY,
        ),
        (with_properties(priority=float("inf")), "priority", 0),
        (with_properties(body_encoding="rot13"), "body_encoding", None),
        (MESSAGE | {"body": "abcde"}, "body_encoding", None),
    ],
)
def test_what_kombu_would_lose_is_set_right(message: dict[str, Any], name: str, value: object):
    assert result(message)["properties"][name] == value


@pytest.mark.parametrize("tag", [None, "", True, 1.5, [], {}, "\ud800", "a\nb"])
def test_a_delivery_tag_that_redis_does_not_take_is_another(tag: object):
    tags = {result(with_properties(delivery_tag=tag))["properties"]["delivery_tag"] for _ in "12"}

    assert len(tags) == 2
    assert tag not in list(tags)


@pytest.mark.parametrize("headers", [None, [], "", 0])
def test_no_headers_are_an_empty_object(headers: object):
    assert result(MESSAGE | {"headers": headers})["headers"] == {}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"headers": [1]}', "headers are not an object"),
        (b"{}", "no delivery_tag, no delivery_info"),
        (b'{"properties": {"delivery_tag": "a"}}', "no delivery_info"),
        (b'{"headers": {"task": 1, "id": "a"}}', "no delivery_tag, no delivery_info"),
    ],
)
def test_what_is_no_message_is_unreadable(message: bytes, why: str):
    with pytest.raises(UnreadableMessageError, match=f"^{why}$"):
        completed(message, QUEUE, decode_body)


def test_a_broadcast_has_all_that_kombu_needs_or_is_unreadable():
    check(json.dumps(MESSAGE).encode(), decode_body)

    with pytest.raises(UnreadableMessageError, match=r"^no delivery_info$"):
        check(json.dumps(with_properties(delivery_info=None)).encode(), decode_body)
