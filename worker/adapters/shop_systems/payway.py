"""Places orders at Payway (World of Tulo, Adeprimo), whose API cannot read an order.

So after a lost answer Klarna is asked: a KP session is `complete` once its order is placed, and
its token cannot place a second one. See docs/decisions.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio

from worker.adapters.shop_systems.api_client import Reply, ShopSystem
from worker.adapters.shop_systems.http import safe_text
from worker.adapters.shop_systems.tracked_payments import TrackedPayments, final, token_of
from worker.domain.confirmation import check_order_id
from worker.domain.deliveries import ORDER, PAYWAY
from worker.domain.errors import InvalidArgumentError, ObservationError
from worker.domain.session import KP_COMPLETE, PaymentSession
from worker.services.errors import DeliveryError
from worker.services.klarna import Klarna

MEDIA_TYPE = "application/json"
ACCESS_TOKEN = "/api/authorization/access_token"  # noqa: S105 - a path
PLACE_ORDER = "/external/api/v1/klarna_payments/place_order"
IN_FLIGHT = 4
# The checkout may be placing the same order at this moment, which would explain the refusal.
SETTLE = timedelta(seconds=3)


class PaywaySink:
    """Implements the port `Sink`; a redelivered event finds the order placed and does nothing."""

    name = PAYWAY
    schedule = ORDER
    in_flight = IN_FLIGHT

    def __init__(
        self,
        system: ShopSystem,
        tracked_payments: TrackedPayments,
        klarna: Klarna,
        *,
        settle: timedelta = SETTLE,
    ) -> None:
        self._system = system
        self._tracked_payments = tracked_payments
        self._klarna = klarna
        self._settle = settle.total_seconds()

    async def deliver(self, envelope: dict[str, Any]) -> None:
        """Place the order of an authorized payment, unless it is placed."""
        session, objects = await self._tracked_payments.find(envelope["subject"], self.name)
        handle = objects["klarna_payments_session_id"]
        order_id: str | None = None
        # If Klarna does not answer, the order is placed anyway: the token can place one order only.
        if not await self._is_placed(session):
            order_id = await self._place(session, handle, token_of(envelope))
        await self._tracked_payments.confirm(session.session_id, order_id or handle)

    async def _place(self, session: PaymentSession, handle: str, token: str) -> str | None:
        request = {"klarna_authorization_token": token, "klarna_payments_session_id": handle}
        if session.reference is not None:
            request["merchant_reference"] = session.reference
        answer = await self._system.ask("POST", PLACE_ORDER, request)
        if answer.ok:
            return _order_id(answer)
        await anyio.sleep(self._settle)
        placed = await self._is_placed(session)
        if placed:
            return None
        problem = _problem(answer)
        if placed is None:
            raise DeliveryError(f"{problem}: Klarna does not say whether an order was placed")
        raise final(f"{problem}: put it right at Payway, then replay this event")

    async def _is_placed(self, session: PaymentSession) -> bool | None:
        """Whether Klarna has an order of this session; None if it does not answer."""
        try:
            return (await self._klarna.read(session)).status == KP_COMPLETE
        except ObservationError:
            return None


def _order_id(answer: Reply) -> str | None:
    """Return the order's id if the answer has one; its content is not documented."""
    item = answer.document.get("item") if isinstance(answer.document, dict) else None
    order_id = item.get("order_id") if isinstance(item, dict) else None
    try:
        return check_order_id(order_id)
    except InvalidArgumentError:
        return None


def _problem(answer: Reply) -> str:
    """Return the error for people. Payway's errors are JSON with at least `message`."""
    message = answer.document.get("message") if isinstance(answer.document, dict) else None
    return f"HTTP {answer.status} {safe_text(message)}".strip()
