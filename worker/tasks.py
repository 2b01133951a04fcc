"""The Celery tasks: names, arguments and acknowledgement; the work is in `worker.services`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from uuid import UUID

from celery import current_task
from celery.exceptions import Reject

from worker.adapters.klarna.wire_models import parse_creation
from worker.adapters.shop_systems.documents import ShopPayment, parse_klarna_payment, parse_purchase
from worker.celery import app
from worker.celery_app.runtime import worker_runtime as runtime
from worker.contract import tasks as contract
from worker.contract.tasks import TaskArguments
from worker.domain.errors import InvalidArgumentError, TrackError
from worker.domain.session import Kind, ShopObjects
from worker.domain.track_arguments import TrackArguments
from worker.services.errors import UnavailableError

# The shop's message is the only copy: it is acknowledged when its session is stored, not before.
_TRACK = {"acks_late": True, "throws": (TrackError,)}
_INTERNAL = {"throws": (UnavailableError, TimeoutError)}

_LONGEST_NAME = 64
# Version 00: trace id, span id, flags. W3C Trace Context, section 3.2.
_TRACE_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def _named(
    published: type[TaskArguments], given: tuple[object, ...], named: dict[str, object]
) -> dict[str, object]:
    """Return the arguments by name. A wrong one is the shop's mistake, not a TypeError of ours."""
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
    """Return an unknown argument's name, if it looks like one: logs and Flower show it."""
    return name if name.isidentifier() and len(name) <= _LONGEST_NAME else "arguments"


def _call(service: Callable[..., Awaitable[object]], *arguments: object) -> None:
    try:
        runtime.call(service, *arguments)
    except UnavailableError as error:
        raise Reject(str(error), requeue=True) from None


def _track(arguments: TrackArguments, shop_objects: ShopObjects | None = None) -> None:
    _call(runtime.services.track.track, arguments, shop_objects, _sent_trace())


def _sent_trace() -> str | None:
    """Return the shop's span, if its message has one: the header of W3C's Trace Context."""
    sent = current_task.request.get("traceparent") if current_task else None
    return sent if isinstance(sent, str) and _TRACE_PARENT.fullmatch(sent) else None


def _track_shop_payment(payment: ShopPayment, arguments: dict[str, object]) -> None:
    """Track a shop system's payment: always of a KP session."""
    known: TrackArguments = {"session_id": payment.session_id, "kind": Kind.KP}
    _track(arguments | known, payment.shop_objects)


@app.task(name="payment_sessions.track", **_TRACK)
def track(*given: object, **named: object) -> None:
    """Track a payment session, or poll it now if it is tracked already.

    Arguments, in order: session_id, and optionally session_url, expires_at, account, kind,
    reference.
    """
    _track(_named(contract.Track, given, named))


@app.task(name="payment_sessions.track_created", **_TRACK)
def track_created(*given: object, **named: object) -> None:
    """Track the HPP session of Klarna's create-session response, unchanged.

    Arguments, in order: response, and optionally account, reference.
    """
    arguments = _named(contract.TrackCreated, given, named)
    created = parse_creation(arguments.pop("response", None))
    known: TrackArguments = {
        "session_id": created.session_id,
        "session_url": created.session_url,
        "expires_at": created.expires_at,
        "kind": Kind.HPP,
    }
    _track(arguments | known)


@app.task(name="payment_sessions.track_klarna_payment", **_TRACK)
def track_klarna_payment(*given: object, **named: object) -> None:
    """Track the KP session of a Commerce Layer klarna payment; its sink places the order.

    Arguments, in order: resource (the JSON:API document, unchanged), and optionally account,
    reference.
    """
    arguments = _named(contract.TrackKlarnaPayment, given, named)
    _track_shop_payment(parse_klarna_payment(arguments.pop("resource", None)), arguments)


@app.task(name="payment_sessions.track_payway", **_TRACK)
def track_payway(*given: object, **named: object) -> None:
    """Track the KP session of a purchase at Payway; its sink places the order.

    Arguments, in order: response (of create_session, unchanged), and optionally session_id
    (Klarna's, if the client token does not name it), account, reference.
    """
    arguments = _named(contract.TrackPayway, given, named)
    purchase = parse_purchase(arguments.pop("response", None), arguments.pop("session_id", None))
    _track_shop_payment(purchase, arguments)


@app.task(name="payment_sessions.confirm_order", **_TRACK)
def confirm_order(*given: object, **named: object) -> None:
    """Note that the shop placed the order of an authorized session: it needs no warning.

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
    """Deliver the outbox messages of these payment sessions."""
    runtime.call(runtime.services.relay.relay, session_ids)


@app.task(name="payment_sessions.purge", **_INTERNAL)
def purge() -> None:
    """Delete payment sessions finished longer ago than RETENTION_DAYS."""
    runtime.call(runtime.services.housekeeping.purge)
