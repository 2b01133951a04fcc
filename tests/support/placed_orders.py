"""What the shops of the examples asked the Klarna stand-in to place; it places one for a token."""

from __future__ import annotations

from devkit.sandbox.client_types import CreatedSession
from devkit.sandbox.server import SandboxClient


def tries_to_order(sandbox: SandboxClient, paid: CreatedSession) -> int:
    """How often somebody tried to place the order of a paid session."""
    path = f"/payments/v1/authorizations/{paid['authorization_token']}/order"
    return sum(asked["path"] == path for asked in sandbox.requests())
