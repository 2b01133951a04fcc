"""The payments that sinks of shop systems place orders for: lookup, token, confirmation."""

from __future__ import annotations

from typing import Any

import structlog

from worker.domain.deliveries import Refusal
from worker.domain.errors import TrackError
from worker.domain.session import PaymentSession
from worker.services.confirmation import Confirmations
from worker.services.errors import DeliveryError, UnavailableError
from worker.services.sessions import SessionLookup

log = structlog.get_logger(__name__)


class TrackedPayments:
    """Finds tracked payments, and confirms their orders."""

    def __init__(self, sessions: SessionLookup, confirmations: Confirmations) -> None:
        self._sessions = sessions
        self._confirmations = confirmations

    async def find(self, session_id: str, sink: str) -> tuple[PaymentSession, dict[str, str]]:
        """Return the payment session and its ids in the sink's system.

        Raises:
            DeliveryError: it was not tracked with such ids, or the database is unavailable.
        """
        try:
            session = await self._sessions.find(session_id)
        except UnavailableError as error:
            raise DeliveryError(str(error)) from None
        objects = (session.shop_objects or {}).get(sink) if session else None
        if session is None or objects is None:
            raise final("was not tracked with a payment of this system")
        return session, dict(objects)

    async def confirm(self, session_id: str, order_id: str) -> None:
        """Store that the order was placed, which stops the warnings.

        Raises:
            DeliveryError: the database is unavailable; the next attempt finds the order placed.
        """
        try:
            await self._confirmations.confirm(session_id, order_id)
        except UnavailableError as error:
            raise DeliveryError(f"the order is placed, but not noted: {error}") from None
        except TrackError as error:
            # The shop confirmed it first, with another order id.
            log.info("order_already_confirmed", session_id=session_id, problem=str(error))


def token_of(envelope: dict[str, Any]) -> str:
    """Return the authorization token.

    Raises:
        DeliveryError: the token was erased after its lifetime.
    """
    token = envelope["data"].get("authorization_token")
    if not isinstance(token, str):
        raise final("the authorization is over: its token was erased after an hour")
    return token


def final(problem: str) -> DeliveryError:
    """Return the error of a delivery that is not tried again."""
    return DeliveryError(problem, refusal=Refusal.PERMANENT)
