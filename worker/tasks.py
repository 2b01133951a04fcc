"""The Celery tasks: names, arguments and acknowledgement; the work is in `worker.services`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import structlog
from celery import current_task
from celery.exceptions import Reject
from celery.worker.consumer import Consumer
from celery.worker.request import Request

from worker.adapters.klarna.wire_models import parse_creation
from worker.adapters.shop_systems.documents import ShopPayment, parse_klarna_payment, parse_purchase
from worker.celery import app, runtime
from worker.celery_app.redaction import shown_ids
from worker.contract import tasks as contract
from worker.contract.tasks import TaskArguments
from worker.domain.errors import InvalidArgumentError, TrackError
from worker.domain.session import ShopObjects
from worker.services.ports import UnavailableError
from worker.services.track import TrackArguments

log = structlog.get_logger(__name__)


# How long task events wait for company: Celery sends them with every turn of its loop, which under
# load is a message for two events.
EVENT_SECONDS = 0.1
# Beyond these the thread that has one more sends them: seldom, as with RabbitMQ it would read from
# a connection that the loop reads, too.
MOST_EVENTS = 1000


class ValidatingConsumer(Consumer):
    """Discards what is no task of ours without a word of what it holds.

    Celery logs the whole body of such a message, and ends the worker over one of another shape;
    the next worker is then given it. Task events are told of together.
    """

    def register_with_event_loop(self, hub: Any) -> None:  # noqa: ANN401 - kombu's
        """Send task events now and then."""
        super().register_with_event_loop(hub)
        if self.event_dispatcher:
            self.event_dispatcher.buffer_limit = MOST_EVENTS
        hub.call_repeatedly(EVENT_SECONDS, self._flush_events)

    def on_send_event_buffered(self) -> None:
        """Leave them for then."""

    def shutdown(self) -> None:
        """Send those that are left."""
        self._flush_events()
        super().shutdown()

    def create_task_handler(self, *args: object, **kwargs: object) -> Callable[[Any], None]:
        """Return what takes each message; Celery's own takes those that are whole."""
        take = super().create_task_handler(*args, **kwargs)

        def handle(message: Any) -> None:  # noqa: ANN401 - kombu is untyped
            try:
                whole = is_task_message(message.headers, message.payload)
            except Exception as error:  # noqa: BLE001 - decoders raise what they like
                self.on_decode_error(message, error)
                return
            if whole:
                take(message)
            else:
                self.on_unknown_message(None, message)

        return handle

    def on_unknown_message(self, body: object, message: Any) -> None:  # noqa: ARG002, ANN401 - Celery's
        """It is no task message."""
        self._discard(message, "message_not_a_task")

    def on_decode_error(self, message: Any, exc: Exception) -> None:  # noqa: ANN401 - Celery's
        """It cannot be read."""
        self._discard(message, "message_unreadable", error=type(exc).__name__)

    def on_invalid_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ARG002, ANN401 - Celery's
        """Its headers are wrong, such as a time that is none."""
        self._discard(message, "message_invalid", error=type(exc).__name__)

    def on_unknown_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ARG002, ANN401 - Celery's
        """No task has that name; Flower shows it as failed."""
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
    """Whether it has the shape of a task message, of Celery's protocol 2 or 1."""
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


class RedactedRequest(Request):
    """A received task that shows payment session ids of its arguments, and nothing else.

    What Flower, events and logs show was written by the sender and may hold anything.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        shown = ", ".join(shown_ids(self.args, self.kwargs))
        self._argsrepr = self._request_dict["argsrepr"] = f"({shown})"
        self._kwargsrepr = self._request_dict["kwargsrepr"] = "{}"

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - Celery's
        """What `celery inspect` and Flower are told of a task under way; never its arguments."""
        shown: dict[str, Any] = super().info(safe=True)
        return shown


# The shop's message is the only copy: it is acknowledged when its session is stored, not before.
_TRACK = {"acks_late": True, "throws": (TrackError,), "Request": RedactedRequest}
_INTERNAL = {"throws": (UnavailableError, TimeoutError), "Request": RedactedRequest}


_LONGEST_NAME = 64
# Version 00: trace id, span id, flags. W3C Trace Context, section 3.2.
_TRACE_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def _named(
    published: type[TaskArguments], given: tuple[object, ...], named: dict[str, object]
) -> dict[str, object]:
    """A mistyped argument is a shop's mistake like any other, not a TypeError of ours."""
    names = tuple(published.model_fields)
    for name in sorted(named):
        if name not in names:
            raise InvalidArgumentError(_shown_name(name), "is not an argument of this task")
        if name in names[: len(given)]:
            raise InvalidArgumentError(name, "is given twice")
    if len(given) > len(names):
        raise InvalidArgumentError("arguments", f"are {len(given) - len(names)} too many")
    return dict(zip(names, given, strict=False)) | named


def _shown_name(name: str) -> str:
    """The name of an unknown argument, where it is one: it goes to logs and to Flower."""
    return name if name.isidentifier() and len(name) <= _LONGEST_NAME else "arguments"


def _call(service: Callable[..., Awaitable[object]], *arguments: object) -> None:
    try:
        runtime.call(service, *arguments)
    except UnavailableError as error:
        raise Reject(str(error), requeue=True) from None


def _track(arguments: TrackArguments, shop_objects: ShopObjects | None = None) -> None:
    _call(runtime.services.track.track, arguments, shop_objects, _sent_trace())


def _sent_trace() -> str | None:
    """The shop's own span, where its message names one: W3C's Trace Context, as a header."""
    sent = current_task.request.get("traceparent") if current_task else None
    return sent if isinstance(sent, str) and _TRACE_PARENT.fullmatch(sent) else None


def _track_shop_payment(payment: ShopPayment, arguments: dict[str, object]) -> None:
    """Shop systems pay by KP sessions."""
    session_id = payment.session_id
    _track(TrackArguments(session_id=session_id, kind="kp", **arguments), payment.shop_objects)


@app.task(name="payment_sessions.track", **_TRACK)
def track(*given: object, **named: object) -> None:
    """Follow a payment session, or poll it now where it is followed already.

    Arguments, in order: session_id, and optionally session_url, expires_at, account, kind,
    reference.
    """
    _track(TrackArguments(**_named(contract.Track, given, named)))


@app.task(name="payment_sessions.track_created", **_TRACK)
def track_created(*given: object, **named: object) -> None:
    """Follow the HPP session of Klarna's create-session answer, as it came.

    Arguments, in order: response, and optionally account, reference.
    """
    arguments = _named(contract.TrackCreated, given, named)
    created = parse_creation(arguments.pop("response", None))
    _track(
        TrackArguments(
            session_id=created.session_id,
            session_url=created.session_url,
            expires_at=created.expires_at,
            kind="hpp",
            **arguments,
        )
    )


@app.task(name="payment_sessions.track_klarna_payment", **_TRACK)
def track_klarna_payment(*given: object, **named: object) -> None:
    """Follow the KP session of a Commerce Layer klarna payment; its sink places the order.

    Arguments, in order: resource (the JSON:API document as it came), and optionally account,
    reference.
    """
    arguments = _named(contract.TrackKlarnaPayment, given, named)
    _track_shop_payment(parse_klarna_payment(arguments.pop("resource", None)), arguments)


@app.task(name="payment_sessions.track_payway", **_TRACK)
def track_payway(*given: object, **named: object) -> None:
    """Follow the KP session of a purchase at Payway; its sink places the order.

    Arguments, in order: response (what create_session answered, as it came), and optionally
    session_id (Klarna's, where the client token does not tell it), account, reference.
    """
    arguments = _named(contract.TrackPayway, given, named)
    purchase = parse_purchase(arguments.pop("response", None), arguments.pop("session_id", None))
    _track_shop_payment(purchase, arguments)


@app.task(name="payment_sessions.confirm_order", **_TRACK)
def confirm_order(*given: object, **named: object) -> None:
    """Note that an order was placed with a payment session's authorization: no warning is due.

    Arguments, in order: session_id, order_id.
    """
    arguments = _named(contract.ConfirmOrder, given, named)
    _call(
        runtime.services.confirmation.confirm_order,
        arguments.get("session_id"),
        arguments.get("order_id"),
    )


@app.task(name="payment_sessions.poll", **_INTERNAL)
def poll(session_ids: list[str], lease_id: str) -> None:
    """Poll the payment sessions claimed under the lease."""
    runtime.call(runtime.services.poll.poll, session_ids, UUID(lease_id))


@app.task(name="payment_sessions.relay", **_INTERNAL)
def relay(session_ids: list[str]) -> None:
    """Deliver what these payment sessions have in the outbox."""
    runtime.call(runtime.services.relay.relay, session_ids)


@app.task(name="payment_sessions.purge", **_INTERNAL)
def purge() -> None:
    """Delete payment sessions finished longer ago than RETENTION_DAYS."""
    runtime.call(runtime.services.housekeeping.purge)
