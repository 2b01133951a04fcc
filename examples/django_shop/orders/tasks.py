"""What goes to the payment session worker, and what comes from it. Nothing of it is imported."""

import logging
from functools import partial
from typing import Any

from celery import Task, current_app, shared_task
from django.db import transaction

from orders import klarna
from orders.models import Order, ProcessedEvent

log = logging.getLogger(__name__)

RETRY_SECONDS = 5
RELEASING = {f"payment_session.{end}" for end in ("cancelled", "disabled", "expired", "not_found")}


def track(order: Order, **details: str) -> None:
    """Track the order's payment session; sent again, it is polled now."""
    current_app.send_task(
        "payment_sessions.track",
        args=[order.session_id],
        kwargs={"reference": order.reference, **details},
        queue="payment-sessions",
    )


def confirm(order: Order) -> None:
    """Say that the order is placed, else the worker warns that the authorization runs out."""
    current_app.send_task(
        "payment_sessions.confirm_order",
        args=[order.session_id, order.klarna_order_id],
        queue="payment-sessions",
    )


# Acknowledged when it is done: else a worker that dies in it takes the event with it.
@shared_task(
    name="payment_session.event",
    bind=True,
    acks_late=True,
    reject_on_worker_lost=True,
    max_retries=None,
)
def on_event(task: Task, event: dict[str, Any]) -> None:
    """Take an event of the `celery` sink."""
    try:
        act_once(event)
    except Exception as error:  # noqa: BLE001 - see below
        # Whatever it was, such as a database that restarts: a task that fails is acknowledged, and
        # its event gone. The event holds a token: what logs and Flower show of it is its id.
        shown = f"({event['id']!r},)"
        raise task.retry(exc=error, countdown=RETRY_SECONDS, argsrepr=shown) from None


def act_once(event: dict[str, Any]) -> None:
    """Do what an event asks for, unless that was done before."""
    order = Order.objects.filter(session_id=event["subject"]).first()
    if order is None:
        log.warning("event of a payment session that is not ours: %s", event["subject"])
    elif ProcessedEvent.objects.filter(event_id=event["id"]).exists():
        if order.klarna_order_id:
            confirm(order)  # it may not have been confirmed before a crash; twice does no harm
    elif event["type"] == "payment_session.authorized":
        tried_before = order.state == Order.State.PLACING
        # Written down before the call: if this process dies in it, the next one knows.
        _unplaced(order).update(state=Order.State.PLACING)
        token = event["data"].get("authorization_token")
        placed = klarna.place_order(token, order.reference, tried_before=tried_before)
        _remember(event, order, *placed)
    elif event["type"] == "payment_session.order_placed":
        _remember(event, order, Order.State.PLACED, event["data"]["order_id"])
    else:
        _remember(event, order, Order.State.RELEASED if event["type"] in RELEASING else None)


def _remember(
    event: dict[str, Any], order: Order, state: Order.State | None, klarna_order_id: str = ""
) -> None:
    """The order and the event's id in one transaction: both, or neither."""
    with transaction.atomic():
        ProcessedEvent.objects.get_or_create(event_id=event["id"])
        if state is not None:
            _unplaced(order).update(state=state, klarna_order_id=klarna_order_id)
        if klarna_order_id:
            order.klarna_order_id = klarna_order_id
            transaction.on_commit(partial(confirm, order))


def _unplaced(order: Order) -> Any:  # noqa: ANN401 - Django's query sets are untyped
    """The order as long as nobody has Klarna's order id: what is placed stays placed."""
    return Order.objects.filter(pk=order.pk, klarna_order_id="")
