"""Commerce Layer's endpoints: access token, klarna payments, orders."""

from http import HTTPStatus
from typing import Any

from devkit.sandbox.accounts import Account
from devkit.sandbox.exchange import Exchange, authorization_in, header_in
from devkit.sandbox.responses import Response, json_response
from devkit.sandbox.shops.commerce_layer_documents import (
    MEDIA_TYPE,
    KlarnaPayment,
    Order,
    document,
    errors,
    klarna_payment_resource,
    order_resource,
)
from devkit.sandbox.shops.klarna import Klarna
from devkit.sandbox.shops.oauth_clients import CLIENT_ID, CLIENT_SECRET, OAuthClients, fields_of

NAME = "commerce_layer"
PATHS: tuple[str, ...] = ("/oauth/token", "/api/klarna_payments/", "/api/orders/")
# docs.commercelayer.io, authentication: tokens live two hours; 30 requests a minute.
TOKEN_SECONDS = 7200.0
TOKENS_PER_MINUTE = 30
_OPEN = {"draft", "pending"}


class CommerceLayer:
    """One organization."""

    def __init__(self, klarna: Klarna) -> None:
        self._klarna = klarna
        self.account = Account(NAME, CLIENT_ID, CLIENT_SECRET, 0)
        self.clients = OAuthClients("client_credentials", TOKEN_SECONDS, TOKENS_PER_MINUTE)
        self.payments: dict[str, KlarnaPayment] = {}
        self.orders: dict[str, Order] = {}

    def create_payment(self, session_id: str, client_token: str) -> KlarnaPayment:
        """Create a pending order and its klarna payment, as a checkout does."""
        now = self._klarna.clock.now()
        order = Order(self._id(), str(len(self.orders) + 1), now)
        payment = KlarnaPayment(self._id(), session_id, client_token, order, now)
        self.orders[order.order_id] = order
        self.payments[payment.payment_id] = payment
        return payment

    async def respond(self, exchange: Exchange) -> Response:
        """Return Commerce Layer's response."""
        if exchange.path == "/oauth/token":
            return await self._token(exchange)
        authorization = authorization_in(exchange.scope["headers"])
        if not self.clients.accepts(authorization, self._klarna.clock.now()):
            return errors(401, "INVALID_TOKEN", "The access token you provided is invalid.")
        if MEDIA_TYPE not in header_in(exchange.scope["headers"], b"accept"):
            return errors(406, "NOT_ACCEPTABLE", f"Accept must be {MEDIA_TYPE}.")
        return await self._resource(exchange)

    async def _resource(self, exchange: Exchange) -> Response:
        match exchange.path.strip("/").split("/"):
            case ["api", "klarna_payments", payment_id] if payment := self.payments.get(payment_id):
                return await self._payment(exchange, payment)
            case ["api", "klarna_payments", payment_id, "order"] if payment := self.payments.get(
                payment_id
            ):
                return document(200, order_resource(payment.order, exchange.origin()))
            case ["api", "orders", order_id] if order := self.orders.get(order_id):
                return await self._order(exchange, order)
        return errors(404, "RECORD_NOT_FOUND", "The requested record was not found.")

    async def _token(self, exchange: Exchange) -> Response:
        now = self._klarna.clock.now()
        if not self.clients.admit(now):
            return json_response(429, {"error": "rate_limited"})
        kind = header_in(exchange.scope["headers"], b"content-type")
        asked = fields_of(await exchange.body(), kind)
        if refusal := self.clients.refusal(asked):
            status = 401 if refusal == "invalid_client" else 400
            described = "Client authentication failed due to unknown or wrong credentials."
            return json_response(status, {"error": refusal, "error_description": described})
        return json_response(
            200,
            {
                "access_token": self.clients.issue(self._klarna.ids, now),
                "token_type": "bearer",
                "expires_in": int(self.clients.lifetime_seconds),
                "scope": asked.get("scope", "market:all"),
                "created_at": int(now),
            },
        )

    async def _payment(self, exchange: Exchange, payment: KlarnaPayment) -> Response:
        if exchange.method == "PATCH":
            changed = await self._changes(exchange, "klarna_payments", {"auth_token", "metadata"})
            if isinstance(changed, Response):
                return changed
            if "auth_token" in changed:
                payment.auth_token = changed["auth_token"]
        linked = b"include=order" in exchange.scope["query_string"]
        resource = klarna_payment_resource(payment, exchange.origin(), linked=linked)
        return document(200, resource)

    async def _order(self, exchange: Exchange, order: Order) -> Response:
        if exchange.method == "PATCH":
            changed = await self._changes(exchange, "orders", {"_place", "metadata"})
            if isinstance(changed, Response):
                return changed
            if changed.get("_place") and (refusal := self._place(order)):
                return refusal
        return document(200, order_resource(order, exchange.origin()))

    async def _changes(
        self, exchange: Exchange, kind: str, known: set[str]
    ) -> dict[str, Any] | Response:
        """Return the attributes to change, or what is wrong with the request."""
        headers = exchange.scope["headers"]
        if not header_in(headers, b"content-type").startswith(MEDIA_TYPE):
            return errors(415, "UNSUPPORTED_MEDIA_TYPE", f"Content-Type must be {MEDIA_TYPE}.")
        data = fields_of(await exchange.body(), MEDIA_TYPE).get("data")
        if not isinstance(data, dict):
            return errors(400, "BAD_REQUEST", "The body has no data.", pointer="/data")
        if (data.get("type"), data.get("id")) != (kind, exchange.session_id):
            return errors(400, "INVALID_RESOURCE", "Type and id do not match.", pointer="/data/id")
        attributes = data.get("attributes", {})
        if unknown := set(attributes) - known:
            title = f"{min(unknown)} is not allowed."
            return errors(400, "PARAM_NOT_ALLOWED", title, pointer="/data/attributes")
        return dict(attributes)

    def _place(self, order: Order) -> Response | None:
        """Place the order at Klarna with the token of its payment source; None when it is.

        The response to a second placement is not documented; the documented status table
        suggests a validation error.
        """
        order.places += 1
        payment = next(p for p in self.payments.values() if p.order is order)
        if order.status not in _OPEN:
            return _invalid("status", f"cannot transition from {order.status!r} to 'placed'")
        if payment.auth_token is None:
            return _invalid("payment_source", "must be authorized")
        placed = self._klarna.place_order(payment.session_id, payment.auth_token)
        if isinstance(placed, int):
            return _invalid("payment_source", f"was refused by Klarna: {HTTPStatus(placed).phrase}")
        order.status, order.klarna_order_id = "placed", placed
        order.placed_at = self._klarna.clock.now()
        return None

    def _id(self) -> str:
        """Return ten letters, like the documents' `ertHJlpPTR`."""
        return self._klarna.ids.letters(10)


def _invalid(attribute: str, problem: str) -> Response:
    pointer = f"/data/attributes/{attribute}"
    return errors(422, "VALIDATION_ERROR", f"{attribute} {problem}", pointer=pointer)
