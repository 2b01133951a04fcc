"""What both shop systems do behind their own endpoints: place the order at Klarna, once."""

from typing import TYPE_CHECKING

from devkit.sandbox.scripts import StatusChange

if TYPE_CHECKING:
    from devkit.sandbox.state import Sandbox


def place_at_klarna(sandbox: "Sandbox", session_id: str, token: str) -> int | str:
    """Return Klarna's order id, or the status code of its refusal."""
    session = sandbox.sessions.get(session_id)
    if session is None:
        return 404
    now = sandbox.clock.now()
    placed = sandbox.authorizations.place_order(token, account=session.script.account, now=now)
    if isinstance(placed, int):
        return placed
    if placed.session_id != session_id:
        return 404
    if placed.script.kind == "kp":
        sandbox.change_status(placed, StatusChange(status="complete"))
    return placed.grants.order_id
