"""Discards messages that are no task of ours, without logging what they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from celery.worker.consumer import Consumer

log = structlog.get_logger(__name__)


class ValidatingConsumer(Consumer):
    """Checks each message before Celery handles it.

    Celery logs the whole body of a message that it does not know. A malformed one ends the worker,
    and then the next worker, which the broker gives it to.
    """

    def create_task_handler(self, *args: object, **kwargs: object) -> Callable[[Any], None]:
        """Return Celery's own handler behind the check.

        Not a public method of Celery's, but the only place before its handler;
        tests/unit/celery_app/test_private_seams.py says which versions it was read in.
        """
        handle_task = super().create_task_handler(*args, **kwargs)

        def handle(message: Any) -> None:  # noqa: ANN401 - kombu is untyped
            try:
                is_task = is_task_message(message.headers, message.payload)
            except Exception as error:  # noqa: BLE001 - decoders raise what they like
                self.on_decode_error(message, error)
                return
            if is_task:
                handle_task(message)
            else:
                self.on_unknown_message(None, message)

        return handle

    def on_unknown_message(self, body: object, message: Any) -> None:  # noqa: ARG002, ANN401 - Celery's
        """Discard what is not a task message."""
        self._discard(message, "message_not_a_task")

    def on_decode_error(self, message: Any, exc: Exception) -> None:  # noqa: ANN401 - Celery's
        """Discard what cannot be decoded."""
        self._discard(message, "message_unreadable", error=type(exc).__name__)

    def on_invalid_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ARG002, ANN401 - Celery's
        """Discard what has an invalid header, such as an `eta` that is not a time."""
        self._discard(message, "message_invalid", error=type(exc).__name__)

    def on_unknown_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ARG002, ANN401 - Celery's
        """Discard a task that is not registered, Celery's own included; Flower shows it failed."""
        properties = message.headers if "task" in (message.headers or {}) else message.payload
        name, task_id = properties["task"], properties["id"]
        self._discard(message, "task_unknown", task=name, task_id=task_id)
        if self.event_dispatcher:
            failed = f"NotRegistered({name!r})"
            self.event_dispatcher.send("task-failed", uuid=task_id, exception=failed)

    def _discard(self, message: Any, event: str, **details: str) -> None:  # noqa: ANN401 - kombu's
        log.error(event, **details)
        message.reject_log_error(log, self.connection_errors)


def is_task_message(headers: Any, payload: Any) -> bool:  # noqa: ANN401 - anything may be sent
    """Return whether it has the shape of a task message, of Celery's protocol 2 or 1."""
    if not isinstance(headers, dict) or "task" not in headers:
        headers = payload if isinstance(payload, dict) else {}
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
