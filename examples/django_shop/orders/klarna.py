"""The two calls that a shop makes at Klarna: create a session, place an order."""

import base64
import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings

from orders.models import Order

# The one thing on sale.
HAT = {"name": "Hat", "quantity": 1, "unit_price": 10000, "total_amount": 10000}
CART = {
    "purchase_country": "SE",
    "purchase_currency": "SEK",
    "order_amount": 10000,
    "order_lines": [HAT],
}


class TryAgainLaterError(Exception):
    """Klarna did not answer, or not to the question; its text names no address and no token."""


def create_session(reference: str) -> dict[str, Any]:
    """Create a payment session with its hosted page; returns Klarna's `SessionCreationResponse`."""
    payments = f"{settings.KLARNA_BASE_URL}/payments/v1/sessions"
    cart = CART | {"merchant_reference1": reference}
    session_id = _post(payments, cart)["session_id"]
    page = {"payment_session_url": f"{payments}/{session_id}"}
    return _post(f"{settings.KLARNA_BASE_URL}/hpp/v1/sessions", page)


def place_order(
    token: str | None, reference: str, *, tried_before: bool
) -> tuple[Order.State, str]:
    """Place the order; returns what became of it, and Klarna's order id where that is known.

    Klarna takes a token once, however often it is asked, so asking again is safe. It answers 403
    where an order was placed with the token already: by us, in a call whose answer got lost. Its
    id is then found in Klarna's Merchant Portal, by the reference. What is unclear has to be looked
    up there too, for there may be an order or none; the worker goes on warning of it.
    """
    gone = Order.State.UNCLEAR if tried_before else Order.State.TOO_LATE
    if token is None:
        return gone, ""  # the worker erases a token when its hour is over
    url = f"{settings.KLARNA_BASE_URL}/payments/v1/authorizations/{token}/order"
    try:
        answer = _post(url, CART | {"merchant_reference1": reference})
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.NOT_FOUND:
            return gone, ""
        # Without an error object it is no word on the token, but of what stands before Klarna.
        if error.code == http.HTTPStatus.FORBIDDEN and b'"error_code"' in error.read(65536):
            return Order.State.PLACED_ID_UNKNOWN if tried_before else Order.State.UNCLEAR, ""
        raise TryAgainLaterError(f"Klarna answered {error.code}") from None
    return Order.State.PLACED, answer["order_id"]


def _post(url: str, document: dict[str, Any]) -> dict[str, Any]:
    login = f"{settings.KLARNA_USERNAME}:{settings.KLARNA_PASSWORD}"
    request = urllib.request.Request(  # noqa: S310 - Klarna's own address, from the settings
        url,
        data=json.dumps(document).encode(),
        headers={
            "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
            return json.load(answer)
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TryAgainLaterError(type(error).__name__) from None
