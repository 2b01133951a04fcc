"""Commerce Layer and Payway as the mock server has them: settings, paid sessions, events."""

from __future__ import annotations

from typing import Any

from devkit.sandbox.client_types import CreatedSession
from devkit.sandbox.server import SandboxClient
from devkit.sandbox.shops.oauth_clients import CLIENT_ID, CLIENT_SECRET


def commerce_layer_environment(url: str) -> dict[str, str]:
    """What a deployment with the sink `commerce_layer` sets."""
    return {
        "COMMERCE_LAYER_BASE_URL": url,
        "COMMERCE_LAYER_CLIENT_ID": CLIENT_ID,
        "COMMERCE_LAYER_CLIENT_SECRET": CLIENT_SECRET,
        "COMMERCE_LAYER_AUTH_URL": f"{url}/oauth/token",
    }


def payway_environment(url: str) -> dict[str, str]:
    """What a deployment with the sink `payway` sets."""
    return {
        "PAYWAY_BASE_URL": url,
        "PAYWAY_CLIENT_ID": CLIENT_ID,
        "PAYWAY_CLIENT_SECRET": CLIENT_SECRET,
    }


def authorized_session(sandbox: SandboxClient) -> CreatedSession:
    """A KP session that the consumer has authorized already."""
    return sandbox.create_session(kind="kp", steps=[{"after": 0, "status": "authorized"}])


def authorized_event(session: CreatedSession, *, token: bool = True) -> dict[str, Any]:
    """What its sink is given; `token` False: erased meanwhile."""
    data: dict[str, Any] = {"session_id": session["session_id"], "account": "default"}
    if token:
        data["authorization_token"] = session["authorization_token"]
    return {
        "specversion": "1.0",
        "id": "0a3f0a3f-0000-4000-8000-000000000001",
        "type": "payment_session.authorized",
        "subject": session["session_id"],
        "data": data,
    }


def asked(sandbox: SandboxClient, system: str) -> list[str]:
    """The requests to a shop system, those for access tokens left out."""
    return [
        f"{request['method']} {request['path']}"
        for request in sandbox.requests(account=system)
        if "token" not in request["path"]
    ]
