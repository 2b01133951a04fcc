"""Parses what shop systems return when a payment begins; only its ids are kept.

Such documents contain client tokens and authorization tokens. These are neither kept nor shown in
errors.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from worker.domain.errors import InvalidArgumentError
from worker.domain.session import ShopObjects
from worker.domain.session_addresses import check_session_id

# Safe as a URL path segment without escaping.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_TOKEN = 16 * 1024
_PARTS_OF_A_JWT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopPayment:
    """A payment that began in a shop system: Klarna's session id and the system's own ids."""

    session_id: str
    shop_objects: ShopObjects


def parse_klarna_payment(resource: object) -> ShopPayment:
    """Return the payment of Commerce Layer's JSON:API document, with its order if it is there.

    Source: docs.commercelayer.io, the klarna payment object.

    Raises:
        InvalidArgumentError: naming the member at fault by its JSON pointer.
    """
    kind = _at(resource, "data", "type")
    if kind != "klarna_payments":
        raise _fault("resource", ("data", "type"), "must be klarna_payments")
    objects = {"klarna_payment_id": _id(resource, "data", "id")}
    if (order_id := _order_id(resource)) is not None:
        objects["order_id"] = order_id
    pointer = ("data", "attributes", "session_id")
    return ShopPayment(
        session_id=_session_id("resource", pointer, _at(resource, *pointer)),
        shop_objects={"commerce_layer": objects},
    )


def parse_purchase(response: object, session_id: object = None) -> ShopPayment:
    """Return the payment of Payway's answer to create_session.

    Klarna's session id is the given one, or the one in the client token. The client token is not
    verified: the session is read at Klarna before anything is done with it.

    Source: docs.worldoftulo.com, payway, klarna_payments, create session.

    Raises:
        InvalidArgumentError: naming the member at fault by its JSON pointer.
    """
    handle = _id(response, "item", "klarna_payments_session_id", name="response")
    if session_id is None:
        pointer = ("item", "klarna_client_token")
        found = _session_id_in(_at(response, *pointer))
        if found is None:
            problem = "does not tell Klarna's session id: pass session_id"
            raise _fault("response", pointer, problem)
        session_id = _session_id("response", pointer, found)
    return ShopPayment(
        session_id=check_session_id(session_id),
        shop_objects={"payway": {"klarna_payments_session_id": handle}},
    )


def _order_id(resource: object) -> str | None:
    """Return the order's id, if the document includes the order."""
    pointer = ("data", "relationships", "order", "data")
    return _id(resource, *pointer, "id") if _at(resource, *pointer) is not None else None


def _session_id_in(token: object) -> str | None:
    """Return the session id in the payload of a JWT, or None."""
    if not isinstance(token, str) or len(token) > _LONGEST_TOKEN:
        return None
    parts = token.split(".")
    if len(parts) != _PARTS_OF_A_JWT:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        payload = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(payload, dict):
        return None
    named = payload.get("session_id") or payload.get("id")
    return named if isinstance(named, str) and named else None


def _at(document: object, *path: str) -> Any:  # noqa: ANN401 - JSON
    """Return the value at this path, or None."""
    value = document
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _id(document: object, *path: str, name: str = "resource") -> str:
    value = _at(document, *path)
    if value is None:
        raise _fault(name, path, "is missing")
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise _fault(name, path, "must be 1 to 64 letters, digits, hyphens or underscores")
    return value


def _session_id(name: str, path: tuple[str, ...], value: object) -> str:
    try:
        return check_session_id(value)
    except InvalidArgumentError as error:
        raise _fault(name, path, error.problem) from None


def _fault(name: str, path: tuple[str, ...], problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(name, f"/{'/'.join(path)} {problem}")
