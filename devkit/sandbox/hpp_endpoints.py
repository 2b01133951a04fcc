"""The hosted payment page's session endpoints: create, read, delete."""

import json
from typing import Any, get_args

from devkit.sandbox.exchange import Exchange
from devkit.sandbox.responses import JSON_TYPE, Response, json_response, klarna_error
from devkit.sandbox.scripts import PlaceOrderMode, StatusChange
from devkit.sandbox.sessions import ScriptedSession
from devkit.sandbox.state import Sandbox

COMPLETED = "COMPLETED"
FINAL_STATUSES = frozenset({COMPLETED, "CANCELLED", "DISABLED"})
"""Klarna docs, hosted payment page: tracking session status, column "Final"."""


def session(sandbox: Sandbox, exchange: Exchange, session_id: str) -> Response:
    """Read or delete one session."""
    if exchange.method not in {"GET", "DELETE"}:
        return klarna_error(405, exchange.correlation_id)
    account = exchange.account.name if exchange.account else ""
    found = sandbox.find(session_id, kind="hpp", account=account)
    if found is None:
        return klarna_error(404, exchange.correlation_id)
    if exchange.method == "GET":
        return read_response(sandbox, found)
    return _delete(sandbox, exchange, found)


def read_response(sandbox: Sandbox, found: ScriptedSession) -> Response:
    """Return a read with what the session's script shows now."""
    found.reads += 1
    return Response(200, found.body_at(sandbox.clock.now()), (JSON_TYPE,))


async def sessions(sandbox: Sandbox, exchange: Exchange) -> Response:
    """Create a session by the script for new sessions."""
    if exchange.method != "POST":
        return klarna_error(405, exchange.correlation_id)
    request = json_object(await exchange.body())
    fault = "Bad value: the body must be a JSON object" if request is None else _wrong(request)
    if request is None or fault is not None:
        return klarna_error(400, exchange.correlation_id, message=fault)
    mode = request.get("options", {}).get("place_order_mode", "NONE")
    changes = {"kind": "hpp", "session_id": None, "place_order_mode": mode}
    created = create_for(sandbox, exchange, changes)
    return json_response(201, creation_response(created, exchange.origin()))


def create_for(sandbox: Sandbox, exchange: Exchange, changes: dict[str, object]) -> ScriptedSession:
    """Create a session of the caller's account by the script for new sessions and `changes`."""
    account = exchange.account.name if exchange.account else ""
    script = sandbox.new_session_script
    return sandbox.create(script.model_copy(update={**changes, "account": account}))


def creation_response(created: ScriptedSession, origin: str) -> dict[str, Any]:
    """Return Klarna's `SessionCreationResponseV1` with its URLs at `origin`."""
    session_url = f"{origin}/hpp/v1/sessions/{created.session_id}"
    page_url = f"{origin}/eu/hpp/payments/{created.grants.klarna_reference}"
    return {
        "session_id": created.session_id,
        "session_url": session_url,
        "expires_at": created.grants.expires_at,
        "redirect_url": page_url,
        "qr_code_url": f"{page_url}/qr",
        "distribution_url": f"{session_url}/distribution",
        "manual_identification_check_url": f"{session_url}/manual-id-check",
    }


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return a JSON object, or None if the bytes are none."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _wrong(request: dict[str, Any]) -> str | None:
    if not isinstance(request.get("payment_session_url"), str):
        return "Bad value: payment_session_url"
    options = request.get("options", {})
    if not isinstance(options, dict):
        return "Bad value: options"
    if options.get("place_order_mode", "NONE") not in get_args(PlaceOrderMode):
        return "Bad value: options.place_order_mode"
    return None


def _delete(sandbox: Sandbox, exchange: Exchange, found: ScriptedSession) -> Response:
    """Disable a session.

    Klarna docs, hosted payment page: delete session: 204, or 400 when it is already completed.
    A cancelled or disabled one stays as it is: no session leaves a final status.
    """
    status = found.moment_at(sandbox.clock.now()).change.status
    if status == COMPLETED:
        return klarna_error(400, exchange.correlation_id, message="Session is already completed.")
    if status not in FINAL_STATUSES:
        sandbox.change_status(found, StatusChange(status="DISABLED"))
    return Response(204)
