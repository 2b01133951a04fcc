"""What a shop sends by mistake, with canaries in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from celery import Celery

from tests.support.canaries import Canaries

TRACK = "payment_sessions.track"
QUEUE = "payment-sessions"


def send_mistakes(
    shop: Celery, canaries: Canaries, *, klarna_url: str, read_id: str
) -> dict[str, str]:
    """Send wrong task messages; returns the event that each must end with, by the task's id.

    `read_id` is a tracked session that was read at Klarna: what contradicts it is a conflict.
    """
    wrong = {
        shop.send_task(task, args=args, kwargs=kwargs, queue=QUEUE).id: "task-failed"
        for task, args, kwargs in _mistakes(canaries, klarna_url, read_id)
    }
    left_out = {
        shop.send_task(TRACK, args=args, kwargs=kwargs, queue=QUEUE).id: "task-succeeded"
        for args, kwargs in _left_out(canaries)
    }
    return wrong | left_out


def _mistakes(
    canaries: Canaries, klarna_url: str, read_id: str
) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    def secret(where: str) -> str:
        return canaries.make_no_id(f"argument: {where}")

    url = f"{klarna_url}/hpp/v1/sessions"
    yield TRACK, (f"a/{secret('an id')}",), {}
    yield TRACK, ([secret("an id in a list"), "a/b"],), {}
    yield TRACK, ("m-1",), {"session_url": f"{url}/m-1?auth={secret('a query')}"}
    yield TRACK, ("m-2",), {"session_url": f"https://u:{secret('user info')}@x.invalid/m-2"}
    yield TRACK, ("m-3",), {"account": secret("an account")}
    yield TRACK, ("m-4",), {"kind": secret("a kind")}
    yield TRACK, ("m-9", None, None, None, None, None, secret("one too many")), {}
    yield TRACK, ("m-10",), {"sesion_url": secret("an unknown argument")}
    yield TRACK, (read_id,), {"reference": "another-order"}
    yield "payment_sessions.track_created", ({"id": secret("a create answer")},), {}
    yield "payment_sessions.track_created", (secret("no create answer"),), {}
    yield "payment_sessions.poll", ([secret("a poll")], secret("a lease")), {}
    yield "payment_sessions.poll", ({"x": secret("a wrong poll")},), {"y": secret("a poll's y")}
    yield "payment_sessions.relay", (), {"sessions": secret("a relay")}
    # As the `celery` sink's message would, were its queue one of ours.
    event = {"data": {"authorization_token": secret("an event in our queue")}}
    yield "payment_session.event", (event,), {"more": secret("an unknown task")}


def _left_out(canaries: Canaries) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Wrong optional arguments: the session is tracked without them."""

    def secret(where: str) -> str:
        return canaries.make_no_id(f"argument: {where}")

    yield ("m-5",), {"expires_at": secret("a time")}
    yield ("m-6",), {"expires_at": {"at": secret("a time in an object")}}
    yield ("m-7",), {"reference": {"name": secret("a reference in an object")}}
    yield ("m-8",), {"reference": secret("a long reference") * 20}


def send_unreadable(shop: Celery, canaries: Canaries) -> None:
    """Send what is no task message, in body or headers; none of it may end a worker."""
    with shop.connection_for_write() as connection, connection.Producer() as producer:
        for number, (body, changes) in enumerate(_unreadable(canaries)):
            sent = {
                "content_type": "application/json",
                "content_encoding": "utf-8",
                "headers": {
                    "task": TRACK,
                    "id": f"unreadable-{number}",
                    "argsrepr": _secret(canaries, f"argsrepr {number}"),
                },
            }
            headers = sent["headers"] | changes.pop("headers", {})
            kept = {name: value for name, value in headers.items() if value is not None}
            producer.publish(body, routing_key=QUEUE, **(sent | changes | {"headers": kept}))


def _unreadable(canaries: Canaries) -> Iterator[tuple[str | bytes, dict[str, Any]]]:
    yield f"{{no JSON, {_secret(canaries, 'no JSON')}", {}
    yield b"\xff" + _secret(canaries, "no UTF-8").encode(), {}
    yield json.dumps(_secret(canaries, "a text")), {}
    yield json.dumps([[], {}, _secret(canaries, "options")]), {}
    yield json.dumps([[], {}, {}, _secret(canaries, "four parts")]), {}
    yield json.dumps(7), {}
    whole = json.dumps([["u-1"], {"reference": _secret(canaries, "a reference")}, {}])
    # Taken in: an invalid ETA is left out.
    sound = json.dumps([["u-2"], {}, {}])
    yield sound, {"headers": {"eta": _secret(canaries, "a time")}}
    yield whole, {"headers": {"id": None}}
    yield whole, {"headers": {"task": [_secret(canaries, "a name")]}}
    # No header says what it is, and the body does not either: an unknown message.
    yield json.dumps({"hello": _secret(canaries, "no task")}), {"headers": {"task": None}}
    pickle = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
    yield _secret(canaries, "a pickle").encode(), pickle


def _secret(canaries: Canaries, where: str) -> str:
    return canaries.make_no_id(f"message: {where}")
