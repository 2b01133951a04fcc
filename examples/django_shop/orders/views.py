"""Check out, and look at an order. No login and no cookie, so nothing to forge a request with."""

import uuid
from functools import partial

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_POST

from orders import klarna, tasks
from orders.models import Order


@require_POST
def checkout(request: HttpRequest) -> JsonResponse:  # noqa: ARG001 - there is one thing on sale
    """Create the order and its payment session; the consumer goes on at `redirect_url`."""
    reference = f"order-{uuid.uuid4()}"
    try:
        session = klarna.create_session(reference)
    except (klarna.TryAgainLaterError, OSError):
        return JsonResponse({"error": "Klarna cannot be reached; try again"}, status=503)
    known = {name: session[name] for name in ("session_url", "expires_at")}
    with transaction.atomic():
        order = Order.objects.create(reference=reference, session_id=session["session_id"])
        # Not before: the worker would follow an order that is rolled back. Robust: a broker that
        # is away costs no sale; `manage.py track_open_orders` sends again what got lost.
        transaction.on_commit(partial(tasks.track, order, **known), robust=True)
    return JsonResponse(
        {
            "reference": reference,
            "session_id": order.session_id,
            "redirect_url": session["redirect_url"],
        },
        status=201,
    )


@require_GET
def order(request: HttpRequest, reference: str) -> JsonResponse:  # noqa: ARG001 - Django's
    """Show an order."""
    found = get_object_or_404(Order, reference=reference)
    return JsonResponse(
        {
            "reference": found.reference,
            "state": found.state,
            "klarna_order_id": found.klarna_order_id or None,
        }
    )
