"""Commerce Layer's resources as JSON:API documents; pure.

Sources: docs.commercelayer.io, the klarna payment object, the order object, handling errors.
"""

from dataclasses import dataclass
from typing import Any

from devkit.sandbox.responses import Header, Response, json_bytes
from devkit.sandbox.timestamps import klarna_timestamp

MEDIA_TYPE = "application/vnd.api+json"
_JSON_API: Header = (b"content-type", MEDIA_TYPE.encode())


@dataclass(slots=True)
class Order:
    """An order; `klarna_order_id` is set once it is placed."""

    order_id: str
    number: str
    created_at: float
    status: str = "pending"
    placed_at: float | None = None
    klarna_order_id: str | None = None
    places: int = 0


@dataclass(slots=True)
class KlarnaPayment:
    """A klarna payment, the payment source of `order`."""

    payment_id: str
    session_id: str
    client_token: str
    order: Order
    created_at: float
    auth_token: str | None = None


def document(status: int, resource: dict[str, Any]) -> Response:
    """Return a document with one resource."""
    return Response(status, json_bytes({"data": resource}), (_JSON_API,))


def errors(status: int, code: str, title: str, *, pointer: str | None = None) -> Response:
    """Return an error document with one error."""
    error: dict[str, Any] = {"title": title, "detail": title, "code": code, "status": str(status)}
    if pointer is not None:
        error["source"] = {"pointer": pointer}
    return Response(status, json_bytes({"errors": [error]}), (_JSON_API,))


def klarna_payment_resource(
    payment: KlarnaPayment, origin: str, *, linked: bool = False
) -> dict[str, Any]:
    """Return a klarna payment; `linked` names its order, as `?include=order` makes it."""
    location = f"{origin}/api/klarna_payments/{payment.payment_id}"
    category = {"identifier": "pay_later", "name": "Pay later", "asset_urls": {}}
    relationships = {
        name: _related(location, name) for name in ("order", "payment_gateway", "versions")
    }
    if linked:
        relationships["order"]["data"] = {"type": "orders", "id": payment.order.order_id}
    attributes = {
        "session_id": payment.session_id,
        "client_token": payment.client_token,
        "payment_methods": [category],
        "auth_token": payment.auth_token,
        "mismatched_amounts": False,
        "payment_instrument": {},
        **_dates(payment.created_at),
    }
    return _resource("klarna_payments", payment.payment_id, location, attributes, relationships)


def order_resource(order: Order, origin: str) -> dict[str, Any]:
    """Return an order, with the few of its attributes that matter here."""
    location = f"{origin}/api/orders/{order.order_id}"
    placed_at = None if order.placed_at is None else klarna_timestamp(order.placed_at)
    attributes = {
        "number": order.number,
        "status": order.status,
        "payment_status": "authorized" if order.placed_at else "unpaid",
        "fulfillment_status": "unfulfilled",
        "currency_code": "SEK",
        "total_amount_cents": 10000,
        "placed_at": placed_at,
        **_dates(order.created_at),
    }
    relationships = {name: _related(location, name) for name in ("customer", "payment_source")}
    return _resource("orders", order.order_id, location, attributes, relationships)


def _resource(
    kind: str,
    resource_id: str,
    location: str,
    attributes: dict[str, Any],
    relationships: dict[str, Any],
) -> dict[str, Any]:
    return {
        "id": resource_id,
        "type": kind,
        "links": {"self": location},
        "attributes": attributes,
        "relationships": relationships,
        "meta": {"mode": "test"},
    }


def _related(location: str, name: str) -> dict[str, Any]:
    return {"links": {"self": f"{location}/relationships/{name}", "related": f"{location}/{name}"}}


def _dates(created_at: float) -> dict[str, Any]:
    moment = klarna_timestamp(created_at)
    unset: dict[str, Any] = {"reference": None, "reference_origin": None, "metadata": {}}
    return {"created_at": moment, "updated_at": moment, **unset}
