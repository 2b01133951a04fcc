"""The Celery tasks: names, arguments and acknowledgement; the work is in `worker.services`."""

from __future__ import annotations

from uuid import UUID

from celery import Task
from celery.exceptions import Reject

from worker.celery import app
from worker.celery_app import intake
from worker.celery_app.redaction import sound_ids
from worker.celery_app.runtime import worker_runtime as runtime
from worker.domain.errors import TrackError
from worker.domain.refused_messages import RefusalReason, reason_of
from worker.services.errors import UnavailableError
from worker.services.refused_messages import ReceivedMessage
from worker.services.track import Sent

# The shop's message is the only copy: it is acknowledged when its session is stored, or when the
# message is kept among the refused ones; not before.
_TRACK = {"bind": True, "acks_late": True, "throws": (TrackError,)}
_INTERNAL = {"throws": (UnavailableError, TimeoutError)}


def _take_in(task: Task, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    request = task.request
    call = intake.Call(
        task=task.name,
        args=args,
        kwargs=kwargs,
        sent=Sent(
            trace_parent=intake.as_trace_parent(request.get("traceparent")),
            first_poll_at=intake.as_time(request.get(intake.FIRST_POLL_AT)),
        ),
    )
    try:
        runtime.call(intake.take_in, runtime.services, call)
    except UnavailableError as error:
        raise Reject(str(error), requeue=True) from None
    except Exception as error:
        session_id, reference = sound_ids(call.args, call.kwargs)
        message = ReceivedMessage(
            task=call.task,
            task_id=intake.printable(request.id or ""),
            body=call.arguments(),
            envelope=call.envelope(),
            session_id=session_id,
            reference=reference,
        )
        _keep(message, reason_of(error))
        raise


def _keep(message: ReceivedMessage, reason: RefusalReason) -> None:
    try:
        runtime.call(runtime.services.refused.keep, message, reason)
    except Exception as error:  # noqa: BLE001 - whatever it is, the message is the only copy
        # Celery acknowledges a task that raises anything else.
        raise Reject(str(error), requeue=True) from None


@app.task(name="payment_sessions.track", **_TRACK)
def track(self: Task, *args: object, **kwargs: object) -> None:
    """Track a payment session, or poll it now if it is tracked already.

    Arguments, in order: session_id, and optionally session_url, expires_at, account, kind,
    reference.
    """
    _take_in(self, args, kwargs)


@app.task(name="payment_sessions.track_created", **_TRACK)
def track_created(self: Task, *args: object, **kwargs: object) -> None:
    """Track the HPP session of Klarna's create-session response, unchanged.

    Arguments, in order: response, and optionally account, reference.
    """
    _take_in(self, args, kwargs)


@app.task(name="payment_sessions.track_klarna_payment", **_TRACK)
def track_klarna_payment(self: Task, *args: object, **kwargs: object) -> None:
    """Track the KP session of a Commerce Layer klarna payment; its sink places the order.

    Arguments, in order: resource (the JSON:API document, unchanged), and optionally account,
    reference.
    """
    _take_in(self, args, kwargs)


@app.task(name="payment_sessions.track_payway", **_TRACK)
def track_payway(self: Task, *args: object, **kwargs: object) -> None:
    """Track the KP session of a purchase at Payway; its sink places the order.

    Arguments, in order: response (of create_session, unchanged), and optionally session_id
    (Klarna's, if the client token does not name it), account, reference.
    """
    _take_in(self, args, kwargs)


@app.task(name="payment_sessions.confirm_order", **_TRACK)
def confirm_order(self: Task, *args: object, **kwargs: object) -> None:
    """Note that the shop placed the order of an authorized session: it needs no warning.

    Arguments, in order: session_id, order_id.
    """
    _take_in(self, args, kwargs)


@app.task(name=intake.KEEP_REFUSED, **_TRACK)
def keep_refused(_self: Task, refused: dict[str, str]) -> None:
    """Keep a message that the consumer could not hand to its task; fails afterwards."""
    message, reason = intake.refused_by_consumer(refused)
    _keep(message, reason)
    raise TrackError(reason.field, reason.reason)


@app.task(name=intake.RETRY_REFUSED, **_INTERNAL)
def retry_refused(refused_ids: list[int]) -> None:
    """Try refused messages again that are due."""
    runtime.call(runtime.services.refused.retry, refused_ids)


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
