"""The AsyncAPI 3 document: channels and messages, generated from the models."""

from __future__ import annotations

from typing import Any

from worker.contract.events import EVENTS, CloudEvent, type_of
from worker.contract.schemas import example_of, shared_schemas
from worker.contract.tasks import TASKS, TaskArguments

# An addition raises the second number. A breaking change gets a new event type, not a new version.
VERSION = "1.0.0"

_SCHEMAS = "#/components/schemas/{model}"
_DESCRIPTION = """\
A shop enqueues the id of a Klarna payment session as a task; the worker tracks the session until it
reaches a final status or expires, and sends the shop events, as CloudEvents 1.0. Consumers ignore
fields and types that they do not know: both may be added."""
_UUID = {"type": "string", "format": "uuid"}


def asyncapi() -> dict[str, Any]:
    """Return the document, from the worker's side: it receives tasks and sends events."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Klarna session worker",
            "version": VERSION,
            "description": " ".join(_DESCRIPTION.split()),
        },
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": {
            "takeTasks": _operation("receive", "tasks", "Receive a task from the shop."),
            "appendToStream": _operation("send", "stream", "`EVENT_SINKS` has `redis_stream`."),
            "postWebhook": _operation("send", "webhook", "`EVENT_SINKS` has `webhook`."),
            "sendTask": _operation("send", "shopTasks", "`EVENT_SINKS` has `celery`."),
        },
        "components": {
            "messages": _messages(),
            "schemas": shared_schemas((*EVENTS, *TASKS), _SCHEMAS),
        },
    }


def _channels() -> dict[str, Any]:
    tasks = [task.__name__ for task in TASKS]
    events = [event.__name__ for event in EVENTS]
    return {
        "tasks": _channel(
            "payment-sessions",
            "A Celery queue, on Redis a list. Any Celery client sends to it; Flower does so over "
            "HTTP: `POST /api/task/send-task/{task}`.",
            tasks,
        ),
        "stream": _channel(
            "payment-session-events",
            "A Redis stream, `EVENT_STREAM`. An entry has the fields `id`, `type`, `subject`, and "
            "`event`: the message.",
            events,
        ),
        "webhook": _channel(
            None,
            "HTTP POST to `WEBHOOK_URL`, signed after Standard Webhooks.",
            [f"{name}Webhook" for name in events],
        ),
        "shopTasks": _channel(
            "celery",
            "The shop's own Celery queue, `CELERY_EVENT_QUEUE`; the task is `CELERY_EVENT_TASK`.",
            ["EventTask"],
        ),
    }


def _channel(address: str | None, description: str, messages: list[str]) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _messages() -> dict[str, Any]:
    messages = {task.__name__: _task_message(task) for task in TASKS}
    messages |= {event.__name__: _event_message(event) for event in EVENTS}
    messages |= {f"{event.__name__}Webhook": _webhook_message(event) for event in EVENTS}
    return messages | {"EventTask": _event_task()}


def _event_message(event: type[CloudEvent]) -> dict[str, Any]:
    return {
        "name": str(type_of(event)),
        "summary": _summary(event),
        "payload": _ref(event),
        "examples": [{"payload": example_of(event)}],
    }


def _webhook_message(event: type[CloudEvent]) -> dict[str, Any]:
    headers = {
        "webhook-id": _UUID | {"description": "The event's id."},
        "webhook-timestamp": {"type": "string", "description": "Of this attempt; Unix seconds."},
        "webhook-signature": {"type": "string", "description": "`v1,…` for each secret."},
    }
    return _event_message(event) | {
        "contentType": "application/cloudevents+json",
        "headers": _object(headers),
        "examples": [{"payload": example_of(event)}],
    }


def _task_message(task: type[TaskArguments]) -> dict[str, Any]:
    """Celery's message protocol 2: positional arguments, keyword arguments, options."""
    example = [[], example_of(task), {}]
    return {
        "name": task.task,
        "summary": _summary(task),
        "description": "Positional arguments are accepted, too, in the order of the fields.",
        "headers": _celery_headers({"const": task.task}),
        "payload": _celery_body({"type": "array", "maxItems": 0}, _ref(task)),
        "examples": [{"payload": example}],
    }


def _event_task() -> dict[str, Any]:
    event = {"oneOf": [_ref(event) for event in EVENTS]}
    arguments = {"type": "array", "items": [event], "minItems": 1, "maxItems": 1}
    return {
        "name": "payment_session.event",
        "summary": "A task with the event as its one argument.",
        "headers": _celery_headers({"type": "string", "examples": ["payment_session.event"]}),
        "payload": _celery_body(arguments, {"type": "object", "maxProperties": 0}),
    }


def _celery_headers(task: dict[str, Any]) -> dict[str, Any]:
    return _object({"task": task, "id": _UUID, "lang": {"type": "string"}})


def _celery_body(args: dict[str, Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    parts = [args, kwargs, {"type": "object"}]
    return {"type": "array", "items": parts, "minItems": len(parts), "maxItems": len(parts)}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _ref(model: type) -> dict[str, str]:
    return {"$ref": _SCHEMAS.format(model=model.__name__)}


def _summary(model: type) -> str:
    return " ".join((model.__doc__ or "").split())
