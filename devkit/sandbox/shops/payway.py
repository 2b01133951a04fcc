"""The Payway endpoints that placing an order needs: access token, create_session, place_order.

Sources: docs.worldoftulo.com, payway: klarna_payments v1. The responses to a successful and to a
repeated `place_order` are not documented: both are inferred.
"""

from dataclasses import dataclass
from typing import Any

from devkit.sandbox.accounts import Account
from devkit.sandbox.exchange import Exchange, authorization_in, header_in
from devkit.sandbox.responses import Response, json_response
from devkit.sandbox.scripts import SessionScript
from devkit.sandbox.sessions import ScriptedSession
from devkit.sandbox.shops.klarna import Klarna
from devkit.sandbox.shops.oauth_clients import CLIENT_ID, CLIENT_SECRET, OAuthClients, fields_of

NAME = "payway"
PATHS: tuple[str, ...] = ("/api/authorization/access_token", "/external/api/v1/klarna_payments/")
SCOPE = "/external/klarna_payments/w"
# docs.worldoftulo.com, payway, access to the API: a token lives one hour.
TOKEN_SECONDS = 3600.0


@dataclass(slots=True)
class Purchase:
    """A purchase session by Payway's own handle; `order_id` is set once it is placed."""

    handle: str
    session: ScriptedSession
    order_id: str | None = None
    merchant_reference: str | None = None


class Payway:
    """One organisation."""

    def __init__(self, klarna: Klarna) -> None:
        self._klarna = klarna
        self.account = Account(NAME, CLIENT_ID, CLIENT_SECRET, 0)
        # Seen in a public integration: the grant without an end user is called "none".
        self.clients = OAuthClients("none", TOKEN_SECONDS)
        self.purchases: dict[str, Purchase] = {}

    def create_purchase(self, session: ScriptedSession) -> dict[str, Any]:
        """Return create_session's response for a purchase paid by this KP session."""
        handle = self._klarna.ids.hexadecimal(24)
        self.purchases[handle] = Purchase(handle, session)
        category = {"identifier": "pay_later", "name": "Betala sen.", "asset_urls": {}}
        return {
            "item": {
                "klarna_payments_session_id": handle,
                "klarna_client_token": session.grants.client_token,
                "payment_method_categories": [category],
            }
        }

    async def respond(self, exchange: Exchange) -> Response:
        """Return Payway's response."""
        if exchange.method != "POST":
            return _refusal(405, "Method not allowed")
        if exchange.path == "/api/authorization/access_token":
            return await self._token(exchange)
        authorization = authorization_in(exchange.scope["headers"])
        if not self.clients.accepts(authorization, self._klarna.clock.now()):
            return _refusal(401, "The access token is invalid or has expired")
        asked = fields_of(await exchange.body(), "application/json")
        match exchange.path.rpartition("/")[2]:
            case "create_session":
                return self._create_session(asked)
            case "place_order":
                return self._place_order(asked)
        return _refusal(404, "No such endpoint")

    async def _token(self, exchange: Exchange) -> Response:
        kind = header_in(exchange.scope["headers"], b"content-type")
        if not kind.startswith("application/x-www-form-urlencoded"):
            return _refusal(400, "The request must be sent as a form")
        asked = fields_of(await exchange.body(), kind)
        if refusal := self.clients.refusal(asked):
            return _refusal(401 if refusal == "invalid_client" else 400, refusal)
        if asked.get("scope") != SCOPE:
            return _refusal(400, "invalid_scope")
        token = self.clients.issue(self._klarna.ids, self._klarna.clock.now())
        lifetime = int(self.clients.lifetime_seconds)
        granted = {"access_token": token, "token_type": "Bearer", "expires_in": lifetime}
        return json_response(200, granted)

    def _create_session(self, asked: dict[str, Any]) -> Response:
        for required in ("code", "period_type", "confirmation_url"):
            if not isinstance(asked.get(required), str):
                return _refusal(400, f"{required} is missing")
        script = SessionScript.model_validate({"kind": "kp"})
        return json_response(200, self.create_purchase(self._klarna.create(script)))

    def _place_order(self, asked: dict[str, Any]) -> Response:
        for required in ("klarna_authorization_token", "klarna_payments_session_id"):
            if not isinstance(asked.get(required), str):
                return _refusal(400, f"{required} is missing")
        purchase = self.purchases.get(asked["klarna_payments_session_id"])
        if purchase is None:
            return _refusal(404, "The session was not found")
        token = asked["klarna_authorization_token"]
        placed = self._klarna.place_order(purchase.session.session_id, token)
        if isinstance(placed, int):
            return _refusal(400, f"Klarna answered {placed}")
        purchase.order_id = self._klarna.ids.hexadecimal(24)
        purchase.merchant_reference = asked.get("merchant_reference")
        return json_response(200, {"item": {"order_id": purchase.order_id}})


def _refusal(status: int, message: str) -> Response:
    """Return an error in Payway's convention: JSON with at least `message`."""
    return json_response(status, {"message": message})
