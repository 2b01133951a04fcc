"""Authorization tokens and the orders placed with them."""

from dataclasses import dataclass

from devkit.sandbox.session_bodies import carried
from devkit.sandbox.sessions import ScriptedSession

TOKEN_LIFETIME_SECONDS = 3600.0
"""Klarna docs, Klarna Payments: an authorization token is valid for 60 minutes."""


@dataclass(slots=True)
class TokenUse:
    """A token of `session`; `refusal` is the first error it got, which Klarna then repeats."""

    session: ScriptedSession
    used: bool = False
    orders: int = 0
    refusal: int | None = None


class Authorizations:
    """Every token a session shows or will show."""

    def __init__(self) -> None:
        self._tokens: dict[str, TokenUse] = {}

    def register(self, session: ScriptedSession) -> None:
        """Add the tokens in a session's history."""
        self._tokens.setdefault(session.grants.authorization_token, TokenUse(session))
        for moment in session.history:
            if moment.change.authorization_token is not None:
                self._tokens.setdefault(moment.change.authorization_token, TokenUse(session))

    def place_order(self, token: str, *, account: str, now: float) -> ScriptedSession | int:
        """Use a token; return its session, or the status code of the refusal.

        Source: Klarna docs, Klarna Payments: create order: a used token is 403, an expired or
        unknown one 404, and the first error is repeated for the same token.
        """
        use = self._tokens.get(token)
        if use is None or use.session.script.account != account:
            return 404
        authorized_at = _authorized_at(use.session, token)
        if authorized_at is None or now < authorized_at:
            return 404
        if use.refusal is None and (use.used or now >= authorized_at + TOKEN_LIFETIME_SECONDS):
            use.refusal = 403 if use.used else 404
        use.used = True
        use.orders += use.refusal is None
        return use.session if use.refusal is None else use.refusal

    def orders_of(self, session: ScriptedSession) -> int:
        """Return how many orders were placed with a session's tokens."""
        return sum(use.orders for use in self._tokens.values() if use.session is session)


def order_created(session: ScriptedSession, origin: str) -> dict[str, str]:
    """Return the body of a created order (Klarna Payments API reference, create order)."""
    order_id = session.grants.order_id
    redirect_url = f"{origin}/payments/redirect/{order_id}"
    return {"order_id": order_id, "redirect_url": redirect_url, "fraud_status": "ACCEPTED"}


def _authorized_at(session: ScriptedSession, token: str) -> float | None:
    for moment in session.history:
        shown = moment.change.authorization_token or session.grants.authorization_token
        if shown == token and carried(session.script, moment.change) in {"token", "both"}:
            return moment.at
    return None
