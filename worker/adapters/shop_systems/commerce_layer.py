"""Places orders at Commerce Layer: sets the token of the Klarna payment, then places its order.

Documented (docs.commercelayer.io): both PATCHes, the statuses of an order, `placed_at`, the error
object. Not documented: the answer to placing a placed order. So the order is read before and after,
and no error is interpreted as "already placed".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import anyio

from worker.adapters.shop_systems.api_client import Reply, ShopSystem
from worker.adapters.shop_systems.http import safe_text
from worker.adapters.shop_systems.tracked_payments import TrackedPayments, final, token_of
from worker.domain.confirmation import check_order_id
from worker.domain.deliveries import COMMERCE_LAYER, ORDER
from worker.domain.errors import InvalidArgumentError
from worker.services.errors import DeliveryError

MEDIA_TYPE = "application/vnd.api+json"
# The limit is 50 requests in 10 s, including the shop's own; an order takes three.
IN_FLIGHT = 4
# The checkout may be placing the same order at this moment, which would explain the refusal.
SETTLE = timedelta(seconds=3)
_NOT_FOUND = 404
_PLACED = {"placed", "approved", "editing"}


@dataclass(frozen=True, slots=True)
class _Order:
    order_id: str
    status: str
    was_placed: bool


class CommerceLayerSink:
    """Implements the port `Sink`; a redelivered event finds the order placed and does nothing."""

    name = COMMERCE_LAYER
    schedule = ORDER
    in_flight = IN_FLIGHT

    def __init__(
        self,
        system: ShopSystem,
        tracked_payments: TrackedPayments,
        *,
        settle: timedelta = SETTLE,
    ) -> None:
        self._system = system
        self._tracked_payments = tracked_payments
        self._settle = settle.total_seconds()

    async def deliver(self, envelope: dict[str, Any]) -> None:
        """Place the order of an authorized payment, unless it is placed."""
        session_id = envelope["subject"]
        _, objects = await self._tracked_payments.find(session_id, self.name)
        order = await self._order(objects)
        if not order.was_placed:
            _check_placeable(order)
            order = await self._place(order, objects, token_of(envelope))
        await self._tracked_payments.confirm(session_id, order.order_id)

    async def _order(self, objects: dict[str, str]) -> _Order:
        """Read the order, by way of its payment if the shop did not name it."""
        payment_id, order_id = objects["klarna_payment_id"], objects.get("order_id")
        path = f"/orders/{order_id}" if order_id else f"/klarna_payments/{payment_id}/order"
        return _order_in(await self._system.ask("GET", path))

    async def _place(self, order: _Order, objects: dict[str, str], token: str) -> _Order:
        payment_id = objects["klarna_payment_id"]
        answer = await self._change("klarna_payments", payment_id, {"auth_token": token})
        if answer.ok:
            answer = await self._change("orders", order.order_id, {"_place": True})
        if not answer.ok:
            await anyio.sleep(self._settle)
        after = _order_in(answer) if answer.ok else await self._order(objects)
        if after.was_placed:
            return after
        if after.status == "placing":
            raise DeliveryError("the order is being placed")
        raise _refusal(answer)

    async def _change(self, kind: str, resource_id: str, attributes: Mapping[str, object]) -> Reply:
        resource = {"type": kind, "id": resource_id, "attributes": attributes}
        return await self._system.ask("PATCH", f"/{kind}/{resource_id}", {"data": resource})


def _check_placeable(order: _Order) -> None:
    if order.status == "placing":
        raise DeliveryError("the order is being placed")
    if order.status == "cancelled":
        raise final("the order was cancelled before it was placed: cancel the authorization too")


def _order_in(answer: Reply) -> _Order:
    if not answer.ok:
        raise _refusal(answer)
    data = answer.document.get("data") if isinstance(answer.document, dict) else None
    attributes = data.get("attributes") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(attributes, dict):
        raise DeliveryError(f"HTTP {answer.status}: not an order")
    try:
        order_id = check_order_id(data.get("id"))
    except InvalidArgumentError:
        raise DeliveryError(f"HTTP {answer.status}: not an order's id") from None
    status = str(attributes.get("status"))
    was_placed = status in _PLACED or attributes.get("placed_at") is not None
    return _Order(order_id, status, was_placed)


def _refusal(answer: Reply) -> DeliveryError:
    """Return the error for an answer, with what to do."""
    if answer.ok:
        return DeliveryError(f"HTTP {answer.status}, but the order is not placed")
    errors = answer.document.get("errors") if isinstance(answer.document, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    problem = _problem(first) if isinstance(first, dict) else ""
    if answer.status == _NOT_FOUND:
        problem = f"{problem}: check COMMERCE_LAYER_BASE_URL, and what was tracked"
    else:
        problem = f"{problem}: put the order right, then replay this event"
    return final(f"HTTP {answer.status} {problem}")


def _problem(error: dict[str, Any]) -> str:
    source = error.get("source")
    pointer = source.get("pointer") if isinstance(source, dict) else None
    parts = (safe_text(error.get("code")), safe_text(pointer), safe_text(error.get("title")))
    return " ".join(part for part in parts if part)
