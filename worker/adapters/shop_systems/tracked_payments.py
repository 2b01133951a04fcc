"""What the sinks of shop systems share: whose payment it is, its token, and noting the order."""

from __future__ import annotations

from typing import Any

import structlog

from worker.domain.deliveries import Refusal
from worker.domain.errors import TrackError
from worker.domain.session import PaymentSession
from worker.services.ports import Confirmations, DeliveryError, SessionLookup, UnavailableError

log = structlog.get_logger(__name__)


class TrackedPayments:
    """What is known here of the payments that sinks place orders for."""

    def __init__(self, followed: SessionLookup, confirmations: Confirmations) -> None:
        self._followed = followed
        self._confirmations = confirmations

    async def find(self, session_id: str, sink: str) -> tuple[PaymentSession, dict[str, str]]:
        """Return the payment session, and what the sink's system calls it.

        Raises:
            DeliveryError: there is nothing to find, or no database.
        """
        try:
            session = await self._followed.find(session_id)
        except UnavailableError as error:
            raise DeliveryError(str(error)) from None
        objects = (session.shop_objects or {}).get(sink) if session else None
        if session is None or objects is None:
            raise final("was not tracked with a payment of this system")
        return session, dict(objects)

    async def confirm(self, session_id: str, order_id: str) -> None:
        """Note the order: nobody is warned of it any more.

        Raises:
            DeliveryError: no database; the order is found again at the next try.
        """
        try:
            await self._confirmations.confirm(session_id, order_id)
        except UnavailableError as error:
            raise DeliveryError(f"the order is placed, but not noted: {error}") from None
        except TrackError as error:
            # The shop was first, and calls it otherwise.
            log.info("order_already_confirmed", session_id=session_id, problem=str(error))


def token_of(envelope: dict[str, Any]) -> str:
    """Return the authorization token.

    Raises:
        DeliveryError: its hour is over, and it was erased.
    """
    token = envelope["data"].get("authorization_token")
    if not isinstance(token, str):
        raise final("the authorization is over: its token was erased after an hour")
    return token


def final(problem: str) -> DeliveryError:
    """Return the error of a delivery that no further try can help."""
    return DeliveryError(problem, refusal=Refusal.FINAL)
