"""Hands messages to their tasks; what is no task of ours is kept without logging what it holds."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import structlog
from celery.worker.consumer import Consumer
from kombu.message import Message

from worker.celery_app import intake
from worker.celery_app.runtime import worker_runtime

log = structlog.get_logger(__name__)


class ValidatingConsumer(Consumer):
    """Checks each message before Celery handles it.

    Celery logs the whole body of a message that it does not know, and acknowledges it. A malformed
    one ends the worker, and then the next worker, which the broker gives it to. Here a message that
    names a task and cannot be handed to it becomes a call of `payment_sessions.keep_refused`; what
    names none is dropped, logged and counted.
    """

    def create_task_handler(self, *args: object, **kwargs: object) -> Callable[[Any], None]:
        """Return Celery's own handler behind the check.

        Not a public method of Celery's, but the only place before its handler;
        tests/unit/celery_app/test_private_seams.py says which versions it was read in.
        """
        self._handle_task = super().create_task_handler(*args, **kwargs)

        def handle(message: Any) -> None:  # noqa: ANN401 - kombu is untyped
            _write_id_as_text(message.headers)
            try:
                is_task = is_task_message(message.headers, message.payload)
            except Exception as error:  # noqa: BLE001 - decoders raise what they like
                self.on_decode_error(message, error)
                return
            if is_task:
                _take_in_now(message)
                self._handle_task(message)
            else:
                self.on_unknown_message(None, message)

        return handle

    def on_unknown_message(self, body: object, message: Any) -> None:  # noqa: ARG002, ANN401 - Celery's
        """Keep what names a task and has another shape."""
        self._refuse(message, "message", "is not a task message of Celery's")

    def on_decode_error(self, message: Any, exc: Exception) -> None:  # noqa: ANN401 - Celery's
        """Keep what cannot be decoded: another serializer, a compression, too large."""
        self._refuse(message, "message", f"cannot be decoded: {type(exc).__name__}")

    def on_invalid_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ARG002, ANN401 - Celery's
        """Keep what has an invalid header."""
        self._refuse(message, "message", f"has an invalid header: {type(exc).__name__}")

    def on_unknown_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ARG002, ANN401 - Celery's
        """Keep a task that is not registered, Celery's own included."""
        self._refuse(message, "task", "is not a task of this worker")

    def _refuse(self, message: Any, field: str, reason: str) -> None:  # noqa: ANN401 - kombu's
        task, task_id = _names(message)
        if task is None:
            worker_runtime.services.refused.drop_unreadable(reason)
            message.reject_log_error(log, self.connection_errors)
            return
        self._handle_task(_keep_message(message, task, task_id, field=field, reason=reason))


def _write_id_as_text(headers: Any) -> None:  # noqa: ANN401 - anything may be sent
    """Celery keeps the type of a task id that a shop chose, such as a UUID."""
    if isinstance(headers, dict) and isinstance(headers.get("id"), UUID):
        headers["id"] = str(headers["id"])


def _take_in_now(message: Any) -> None:  # noqa: ANN401 - kombu's
    """Take a shop's message in at once, whatever it says of its time.

    Celery drops an expired one, and holds one with an ETA in memory, unacknowledged: the broker
    would deliver it again and again. The ETA becomes the time of the first poll.
    """
    headers = message.headers if "task" in (message.headers or {}) else message.payload
    if headers["task"] in intake.SHOP_TASKS:
        eta = headers.get("eta")
        headers.update(expires=None, eta=None)
        if eta is not None:
            message.headers[intake.FIRST_POLL_AT] = eta


def _names(message: Any) -> tuple[str | None, str]:  # noqa: ANN401 - kombu's
    """Return a message's task and task id; the task is None if it names none."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    if "task" not in headers:
        try:
            headers = message.payload if isinstance(message.payload, dict) else {}
        except Exception:  # noqa: BLE001 - decoders raise what they like
            headers = {}
    task, task_id = headers.get("task"), headers.get("id")
    if not isinstance(task, str):
        return None, ""
    if not isinstance(task_id, str) or not task_id:
        task_id = hashlib.sha256(_body(message)).hexdigest()
    return intake.printable(task), intake.printable(task_id)


def _body(message: Any) -> bytes:  # noqa: ANN401 - kombu's
    body = message.body
    return body if isinstance(body, bytes) else str(body).encode(errors="surrogateescape")


def _keep_message(
    message: Any,  # noqa: ANN401 - kombu's
    task: str,
    task_id: str,
    *,
    field: str,
    reason: str,
) -> Message:
    """Return the call that keeps a message; acknowledged, it acknowledges the message itself."""
    headers = message.headers or {}
    refused = {
        "task": task,
        "task_id": task_id,
        "field": field,
        "reason": reason,
        "body": base64.b64encode(_body(message)).decode(),
        "content_type": str(message.content_type),
        "content_encoding": str(message.content_encoding),
        "compression": str(headers.get("compression")),
    }
    return Message(
        body=json.dumps([[refused], {}, {}]),
        delivery_tag=message.delivery_tag,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info=message.delivery_info,
        properties=message.properties,
        # Flower, events and logs show it under the name and id that it came with.
        headers={"task": intake.KEEP_REFUSED, "id": task_id, "shadow": task, "lang": "py"},
        accept=message.accept,
        channel=message.channel,
    )


def is_task_message(headers: Any, payload: Any) -> bool:  # noqa: ANN401 - anything may be sent
    """Return whether it has the shape of a task message, of Celery's protocol 2 or 1."""
    if not isinstance(headers, dict) or "task" not in headers:
        headers = payload if isinstance(payload, dict) else {}
    elif isinstance(payload, dict) and "args" not in payload:
        return False
    if isinstance(payload, dict):
        payload = [payload.get("args", []), payload.get("kwargs", {}), None]
    return (
        isinstance(headers.get("task"), str)
        and isinstance(headers.get("id"), str)
        and isinstance(payload, list)
        and len(payload) == 3  # noqa: PLR2004 - arguments, keyword arguments, options
        and isinstance(payload[0], list)
        and isinstance(payload[1], dict)
        and isinstance(payload[2], (dict, type(None)))
    )
