"""Control of the shop systems: create what a checkout creates, list the orders."""

from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from devkit.sandbox.control_models import WrongInputError, validated
from devkit.sandbox.sessions import ScriptedSession
from devkit.sandbox.shops.commerce_layer_documents import klarna_payment_resource
from devkit.sandbox.state import Sandbox


class PaymentInput(BaseModel):
    """The KP session that a payment is made for; `linked` names the order in the resource."""

    model_config = ConfigDict(extra="forbid")

    session_id: str
    linked: bool = True


class OrderInput(BaseModel):
    """A status to give an order by hand."""

    model_config = ConfigDict(extra="forbid")

    status: str


_PAYMENT = TypeAdapter(PaymentInput)
_ORDER = TypeAdapter(OrderInput)


class ShopControl:
    """The `/commerce_layer` and `/payway` endpoints of the control API."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the routes, relative to `/_sandbox`."""
        return [
            Route("/commerce_layer/payments", self.create_payment, methods=["POST"]),
            Route("/commerce_layer/orders", self.list_orders, methods=["GET"]),
            Route("/commerce_layer/orders/{order_id}", self.change_order, methods=["PUT"]),
            Route("/payway/purchases", self.create_purchase, methods=["POST"]),
            Route("/payway/purchases", self.list_purchases, methods=["GET"]),
            Route("/{system}/tokens", self.list_tokens, methods=["GET"]),
            Route("/{system}/tokens", self.revoke_tokens, methods=["DELETE"]),
        ]

    async def create_payment(self, request: Request) -> JSONResponse:
        """Create a pending order whose klarna payment is this KP session; return its resource."""
        wanted = validated(_PAYMENT, await request.body())
        session = self._kp_session(wanted.session_id)
        made = self._sandbox.shops.commerce_layer.create_payment(
            session.session_id, session.grants.client_token
        )
        origin = f"{request.url.scheme}://{request.url.netloc}"
        resource = klarna_payment_resource(made, origin, linked=wanted.linked)
        return JSONResponse({"order_id": made.order.order_id, "resource": {"data": resource}}, 201)

    async def list_orders(self, _request: Request) -> JSONResponse:
        """List the orders: status, Klarna's order id, and how often its placement was requested."""
        orders = self._sandbox.shops.commerce_layer.orders.values()
        names = ("order_id", "status", "klarna_order_id", "places")
        return JSONResponse({"orders": [{n: getattr(o, n) for n in names} for o in orders]})

    async def change_order(self, request: Request) -> JSONResponse:
        """Set an order's status, as a merchant would."""
        order_id = request.path_params["order_id"]
        order = self._sandbox.shops.commerce_layer.orders.get(order_id)
        if order is None:
            raise WrongInputError([("order_id", f"no order {order_id!r}")])
        order.status = validated(_ORDER, await request.body()).status
        return JSONResponse({})

    async def create_purchase(self, request: Request) -> JSONResponse:
        """Create a purchase paid by this KP session; return create_session's response."""
        wanted = validated(_PAYMENT, await request.body())
        session = self._kp_session(wanted.session_id)
        return JSONResponse(self._sandbox.shops.payway.create_purchase(session), 201)

    async def list_purchases(self, _request: Request) -> JSONResponse:
        """List the purchases with their order, if any."""
        purchases = self._sandbox.shops.payway.purchases.values()
        names = ("handle", "order_id", "merchant_reference")
        return JSONResponse({"purchases": [{n: getattr(p, n) for n in names} for p in purchases]})

    async def list_tokens(self, request: Request) -> JSONResponse:
        """Return how many access tokens were issued."""
        return JSONResponse({"issued": self._system(request).clients.issued})

    async def revoke_tokens(self, request: Request) -> JSONResponse:
        """Revoke every access token."""
        self._system(request).clients.revoke_all()
        return JSONResponse({})

    def _system(self, request: Request) -> Any:  # noqa: ANN401 - either of the two
        system = getattr(self._sandbox.shops, request.path_params["system"], None)
        if system is None:
            raise WrongInputError([("system", "is none of commerce_layer, payway")])
        return system

    def _kp_session(self, session_id: str) -> ScriptedSession:
        session = self._sandbox.sessions.get(session_id)
        if session is None or session.script.kind != "kp":
            raise WrongInputError([("session_id", f"no KP session {session_id!r}")])
        return session
