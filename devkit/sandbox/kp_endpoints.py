"""The Klarna Payments endpoints: create and read a session, place an order with a token."""

from typing import Any

from devkit.sandbox.authorizations import order_created
from devkit.sandbox.exchange import Exchange
from devkit.sandbox.hpp_endpoints import create_for, json_object, read_response
from devkit.sandbox.responses import Response, json_response, klarna_error
from devkit.sandbox.sessions import ScriptedSession
from devkit.sandbox.state import Sandbox


def session(sandbox: Sandbox, exchange: Exchange, session_id: str) -> Response:
    """Read one session: with personal data and the client token, as Klarna does."""
    if exchange.method != "GET":
        return klarna_error(405, exchange.correlation_id)
    account = exchange.account.name if exchange.account else ""
    found = sandbox.find(session_id, kind="kp", account=account)
    if found is None:
        return klarna_error(404, exchange.correlation_id)
    return read_response(sandbox, found)


async def sessions(sandbox: Sandbox, exchange: Exchange) -> Response:
    """Create a session by the script for new sessions."""
    if exchange.method != "POST":
        return klarna_error(405, exchange.correlation_id)
    if json_object(await exchange.body()) is None:
        message = "Bad value: the body must be a JSON object"
        return klarna_error(400, exchange.correlation_id, message=message)
    created = create_for(sandbox, exchange, {"kind": "kp", "session_id": None})
    return json_response(200, creation_response(created))


def creation_response(created: ScriptedSession) -> dict[str, Any]:
    """Return the body of a created session (Klarna Payments API reference, create session)."""
    category = {
        "identifier": "klarna",
        "name": "Pay with Klarna",
        "asset_urls": {
            "descriptive": "https://sandbox.invalid/descriptive.svg",
            "standard": "https://sandbox.invalid/standard.svg",
        },
    }
    return {
        "session_id": created.session_id,
        "client_token": created.grants.client_token,
        "payment_method_categories": [category],
    }


def order(sandbox: Sandbox, exchange: Exchange, token: str) -> Response:
    """Place an order with an authorization token, once."""
    if exchange.method != "POST":
        return klarna_error(405, exchange.correlation_id)
    account = exchange.account.name if exchange.account else ""
    placed = sandbox.use_token(token, account=account)
    if isinstance(placed, int):
        return klarna_error(placed, exchange.correlation_id, message=_refusal(placed))
    return json_response(200, order_created(placed, exchange.origin()))


def _refusal(status: int) -> str:
    known = {403: "The authorization token has been used.", 404: "Invalid authorization token."}
    return known[status]
