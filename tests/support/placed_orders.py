"""Orders that the example shops placed at the mock Klarna server, which allows one per token."""

from __future__ import annotations

from devkit.sandbox.client_types import CreatedSession
from devkit.sandbox.server import SandboxClient


def tries_to_order(sandbox: SandboxClient, paid: CreatedSession) -> int:
    """Return how often the order of a paid session was requested."""
    path = f"/payments/v1/authorizations/{paid['authorization_token']}/order"
    return sum(asked["path"] == path for asked in sandbox.requests())
