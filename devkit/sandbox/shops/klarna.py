"""What the shop systems use of the mock Klarna server."""

from typing import Protocol

from devkit.sandbox.clock import SandboxClock
from devkit.sandbox.identifiers import Identifiers
from devkit.sandbox.scripts import SessionScript
from devkit.sandbox.sessions import ScriptedSession


class Klarna(Protocol):
    """Its sessions, its ids and its clock; `Sandbox` is the one implementation."""

    clock: SandboxClock
    ids: Identifiers

    def create(self, script: SessionScript) -> ScriptedSession:
        """Create a session that starts now."""
        ...

    def place_order(self, session_id: str, token: str) -> int | str:
        """Return Klarna's order id, or the status code of its refusal."""
        ...
