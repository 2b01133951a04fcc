"""What kombu needs of a message in a Redis list, which anything may have pushed.

kombu 5.7 raises what it likes where something is missing: that ends the worker, or loses the
message when it is put back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

from kombu.utils.json import dumps, loads

Message = dict[str, Any]
# kombu's: the body without its encoding; raises where that is not possible.
DecodeBody = Callable[[Any, Any], object]


class UnreadableMessageError(Exception):
    """Not a message; says why, and nothing of what it holds."""


def completed(item: bytes, queue: str, decode_body: DecodeBody) -> bytes:
    """Return the message as kombu can read it and put it back to `queue`.

    What is missing is added where the header names the task, for the task can still be run or kept.

    Raises:
        UnreadableMessageError: it is not a message.
    """
    message = _read(item)
    headers, properties = message.get("headers"), message.get("properties")
    lacking = dict(_lacking(message, decode_body))
    if lacking and not _names_a_task(headers):
        raise UnreadableMessageError(f"no {', no '.join(lacking)}")
    known = properties if isinstance(properties, dict) else {}
    repaired = known | lacking | dict(_lost_when_put_back(known, queue))
    if repaired == properties and isinstance(headers, dict):
        return item
    as_kombu_reads: str = dumps(message | {"headers": headers or {}, "properties": repaired})
    return as_kombu_reads.encode()


def check(item: bytes, decode_body: DecodeBody) -> None:
    """Check a broadcast, which is never put back.

    Raises:
        UnreadableMessageError: kombu cannot read it.
    """
    if lacking := dict(_lacking(_read(item), decode_body)):
        raise UnreadableMessageError(f"no {', no '.join(lacking)}")


def _read(item: bytes) -> Message:
    try:
        message = loads(item)
    except Exception:  # noqa: BLE001 - kombu's decoders of types raise what they like
        raise UnreadableMessageError("not JSON") from None
    if not isinstance(message, dict):
        raise UnreadableMessageError("not a JSON object")
    if not isinstance(message.get("headers") or {}, dict):
        raise UnreadableMessageError("headers are not an object")
    return message


def _names_a_task(headers: Any) -> bool:  # noqa: ANN401 - anything may be sent
    headers = headers or {}
    return isinstance(headers.get("task"), str) and isinstance(headers.get("id"), str)


def _lacking(message: Message, decode_body: DecodeBody) -> Iterator[tuple[str, object]]:
    """Yield the properties without which kombu raises, with what to put there."""
    properties = message.get("properties")
    if not isinstance(properties, dict):
        properties = {}
    if not _is_delivery_tag(properties.get("delivery_tag")):
        yield "delivery_tag", str(uuid4())
    if not isinstance(properties.get("delivery_info"), dict):
        yield "delivery_info", {}
    try:
        decode_body(message.get("body"), properties.get("body_encoding"))
    except Exception:  # noqa: BLE001 - decoders raise what they like
        yield "body_encoding", None


def _lost_when_put_back(properties: Message, queue: str) -> Iterator[tuple[str, object]]:
    """Yield the properties with which kombu would put the message elsewhere, or nowhere."""
    delivery = properties.get("delivery_info")
    if not isinstance(delivery, dict) or not _leads_to(queue, delivery):
        yield "delivery_info", {"exchange": "", "routing_key": queue}
    priority = properties.get("priority")
    if isinstance(priority, float) and not math.isfinite(priority):
        yield "priority", 0


def _leads_to(queue: str, delivery: Message) -> bool:
    """Return whether it names the queue, by the default exchange or by the queue's own."""
    return delivery.get("routing_key") == queue and delivery.get("exchange") in ("", queue)


def _is_delivery_tag(tag: object) -> bool:
    """Return whether Redis can take it as a field."""
    if isinstance(tag, str):
        return bool(tag) and tag.isprintable()
    return isinstance(tag, int) and not isinstance(tag, bool)
