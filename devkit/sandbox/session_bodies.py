"""The JSON body of a read; pure."""

from dataclasses import dataclass

from pydantic import JsonValue

from devkit.sandbox.scripts import Carries, Change, SessionScript
from devkit.sandbox.timestamps import klarna_timestamp

AUTHORIZED = "authorized"
"""Status in scripts for a KP session that is `incomplete` with an authorization token."""

PERSONAL_DATA: dict[str, JsonValue] = {
    "billing_address": {
        "given_name": "Canary",
        "family_name": "Consumer",
        "email": "canary.consumer@example.invalid",
        "phone": "+00000000000",
        "street_address": "Canary Street 1",
        "postal_code": "00000",
        "city": "Canary City",
        "country": "SE",
    },
    "customer": {"date_of_birth": "1900-01-01", "national_identification_number": "CANARY-0000"},
}


@dataclass(frozen=True, slots=True)
class Grants:
    """Ids and tokens that a session gets at its creation and shows in its responses."""

    session_id: str
    expires_at: str
    authorization_token: str
    order_id: str
    klarna_reference: str
    client_token: str


def response_body(script: SessionScript, grants: Grants, change: Change, at: float) -> JsonValue:
    """Return the body that shows `change`, which took effect at `at` (seconds since the epoch)."""
    if change.body is not None:
        return change.body
    if script.kind == "hpp":
        body = _hpp_body(script, grants, change, at)
    else:
        body = _kp_body(script, grants, change)
    body |= script.extra | change.extra
    for name in (*script.omit, *change.omit):
        body.pop(name, None)
    return body


def carried(script: SessionScript, change: Change) -> Carries:
    """Return what a response with this status carries.

    Source: Klarna docs, hosted payment page: `place_order_mode` NONE gives a token with COMPLETED,
    PLACE_ORDER and CAPTURE_ORDER give an order.
    """
    chosen = change.carries or (script.carries if _grants(script, change.status) else None)
    if chosen is not None:
        return chosen
    if not _grants(script, change.status):
        return "neither"
    return "token" if script.kind == "kp" or script.place_order_mode == "NONE" else "order"


def _grants(script: SessionScript, status: str) -> bool:
    return status == ("COMPLETED" if script.kind == "hpp" else AUTHORIZED)


def _hpp_body(
    script: SessionScript, grants: Grants, change: Change, at: float
) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {"session_id": grants.session_id, "status": change.status}
    body |= _carried_fields(script, grants, change)
    body["updated_at"] = _updated_at(change, at)
    body["expires_at"] = grants.expires_at
    if script.customer is not None:
        body["customer"] = script.customer
    if script.manual_identification is not None:
        body["manual_identification"] = script.manual_identification
    return body


def _kp_body(script: SessionScript, grants: Grants, change: Change) -> dict[str, JsonValue]:
    """Klarna Payments API reference, read session: no `session_id`, no `updated_at`."""
    status = "incomplete" if change.status == AUTHORIZED else change.status
    body: dict[str, JsonValue] = {"status": status, "expires_at": grants.expires_at}
    body |= _carried_fields(script, grants, change)
    body["client_token"] = grants.client_token
    body |= {"purchase_country": "SE", "purchase_currency": "SEK", "locale": "en-SE"}
    body |= {"order_amount": 10000, "order_tax_amount": 2000, "order_lines": []}
    body |= PERSONAL_DATA
    if script.customer is not None:
        body["customer"] = script.customer
    return body


def _carried_fields(script: SessionScript, grants: Grants, change: Change) -> dict[str, JsonValue]:
    carries = carried(script, change)
    fields: dict[str, JsonValue] = {}
    if carries in {"token", "both"}:
        fields["authorization_token"] = change.authorization_token or grants.authorization_token
    if carries in {"order", "both"}:
        fields["order_id"] = change.order_id or grants.order_id
        fields["klarna_reference"] = change.klarna_reference or grants.klarna_reference
    return fields


def _updated_at(change: Change, at: float) -> str:
    if isinstance(change.updated_at, str):
        return change.updated_at
    return klarna_timestamp(at + (change.updated_at or 0.0))
