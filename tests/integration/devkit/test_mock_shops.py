"""The mock Klarna servers of Commerce Layer and Payway: answers in the form that each documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft6Validator, FormatChecker

from devkit.sandbox.server import SandboxClient
from devkit.sandbox.shops.oauth_clients import CLIENT_ID, CLIENT_SECRET
from tests.support.shop_systems import authorized_session

SCHEMA = Path(__file__).parents[2] / "fixtures" / "jsonapi-1.0.schema.json"
MEDIA_TYPE = "application/vnd.api+json"
CREDENTIALS = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


@pytest.fixture(scope="module")
def json_api() -> Draft6Validator:
    """The JSON:API project's own schema of what a server answers."""
    return Draft6Validator(json.loads(SCHEMA.read_text()), format_checker=FormatChecker())


@pytest.fixture
def anybody(sandbox: SandboxClient) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.url, headers={"Accept": MEDIA_TYPE}) as client:
        yield client


@pytest.fixture
def integration(anybody: httpx.Client) -> httpx.Client:
    """With an access token of Commerce Layer's."""
    asked = CREDENTIALS | {"grant_type": "client_credentials"}
    granted = anybody.post("/oauth/token", json=asked).json()
    anybody.headers["Authorization"] = f"Bearer {granted['access_token']}"
    return anybody


@pytest.fixture
def payment(sandbox: SandboxClient) -> dict[str, Any]:
    """A klarna payment of an authorized session, as the checkout got it."""
    session = authorized_session(sandbox)
    made = sandbox.create_klarna_payment(session["session_id"])
    return {
        "id": made["resource"]["data"]["id"],
        "order_id": made["order_id"],
        "token": session["authorization_token"],
        "resource": made["resource"],
    }


def patch(
    client: httpx.Client, kind: str, resource_id: str, attributes: object, **headers: str
) -> httpx.Response:
    body = {"data": {"type": kind, "id": resource_id, "attributes": attributes}}
    return client.patch(
        f"/api/{kind}/{resource_id}",
        content=json.dumps(body),
        headers={"Content-Type": MEDIA_TYPE} | headers,
    )


# --- Commerce Layer


def test_every_answer_is_a_json_api_document(
    integration: httpx.Client, payment: dict[str, Any], json_api: Draft6Validator
):
    """Resources and errors alike; what no answer may look like is refused by the same schema."""
    payment_id, order_id = payment["id"], payment["order_id"]
    answers = [
        integration.get(f"/api/klarna_payments/{payment_id}"),
        integration.get(f"/api/klarna_payments/{payment_id}?include=order"),
        integration.get(f"/api/klarna_payments/{payment_id}/order"),
        integration.get(f"/api/orders/{order_id}"),
        patch(integration, "orders", order_id, {"_place": True}),
        patch(integration, "klarna_payments", payment_id, {"auth_token": payment["token"]}),
        patch(integration, "klarna_payments", payment_id, {"unknown": 1}),
        patch(integration, "orders", order_id, {"_place": True}),
        patch(integration, "orders", order_id, {"_place": True}),
        integration.get("/api/orders/unknown"),
        integration.get(f"/api/orders/{order_id}", headers={"Accept": "application/json"}),
        patch(integration, "orders", order_id, {}, **{"Content-Type": "application/json"}),
        integration.get(f"/api/orders/{order_id}", headers={"Authorization": "Bearer other"}),
    ]

    codes = [answer.status_code for answer in answers]
    assert codes == [200, 200, 200, 200, 422, 200, 400, 200, 422, 404, 406, 415, 401]
    assert {answer.headers["content-type"] for answer in answers} == {MEDIA_TYPE}
    for answer in answers:
        json_api.validate(answer.json())
    json_api.validate(payment["resource"])
    assert not json_api.is_valid({"data": {"attributes": {}}})
    assert not json_api.is_valid({"errors": {"code": "X"}})


def test_the_klarna_payment_has_the_documented_fields(
    integration: httpx.Client, payment: dict[str, Any]
):
    data = integration.get(f"/api/klarna_payments/{payment['id']}").json()["data"]

    assert data["type"] == "klarna_payments"
    assert data["links"]["self"].endswith(f"/api/klarna_payments/{payment['id']}")
    assert set(data["attributes"]) == {
        "session_id",
        "client_token",
        "payment_methods",
        "auth_token",
        "mismatched_amounts",
        "payment_instrument",
        "created_at",
        "updated_at",
        "reference",
        "reference_origin",
        "metadata",
    }
    assert set(data["relationships"]) == {"order", "payment_gateway", "versions"}
    assert "data" not in data["relationships"]["order"]
    assert data["meta"] == {"mode": "test"}


def test_an_order_is_placed_once_and_only_with_a_good_token(
    integration: httpx.Client, payment: dict[str, Any], sandbox: SandboxClient
):
    patch(integration, "klarna_payments", payment["id"], {"auth_token": "wrong"})
    refused = patch(integration, "orders", payment["order_id"], {"_place": True})
    patch(integration, "klarna_payments", payment["id"], {"auth_token": payment["token"]})
    placed = patch(integration, "orders", payment["order_id"], {"_place": True})
    again = patch(integration, "orders", payment["order_id"], {"_place": True})

    assert [refused.status_code, placed.status_code, again.status_code] == [422, 200, 422]
    assert placed.json()["data"]["attributes"]["status"] == "placed"
    assert placed.json()["data"]["attributes"]["placed_at"] is not None
    assert sandbox.orders()[0]["klarna_order_id"]


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_access_tokens_are_granted_to_its_client_alone(
    anybody: httpx.Client, changes: dict[str, str], status: int, error: str
):
    asked = CREDENTIALS | {"grant_type": "client_credentials"} | changes

    answer = anybody.post("/oauth/token", json=asked)

    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_access_tokens_are_limited_and_run_out(
    integration: httpx.Client, payment: dict[str, Any], sandbox: SandboxClient
):
    """Thirty requests a minute; two hours."""
    asked = CREDENTIALS | {"grant_type": "client_credentials"}
    codes = [integration.post("/oauth/token", json=asked).status_code for _ in range(30)]
    assert codes == [200] * 29 + [429]

    path = f"/api/orders/{payment['order_id']}"
    assert integration.get(path).status_code == 200
    sandbox.advance_clock(7201)
    assert integration.get(path).status_code == 401


# --- Payway


def test_a_purchase_begins_and_ends_at_payway(anybody: httpx.Client, sandbox: SandboxClient):
    """create_session answers what its documentation shows; place_order takes its handle."""
    asked = CREDENTIALS | {"grant_type": "none", "scope": "/external/klarna_payments/w"}
    granted = anybody.post("/api/authorization/access_token", data=asked).json()
    anybody.headers["Authorization"] = f"Bearer {granted['access_token']}"
    api = "/external/api/v1/klarna_payments"
    begun = {"code": "a", "period_type": "recurring", "confirmation_url": "https://shop.invalid"}

    item = anybody.post(f"{api}/create_session", json=begun).json()["item"]

    assert len(item["klarna_payments_session_id"]) == 24
    assert item["klarna_client_token"].count(".") == 2
    assert item["payment_method_categories"]
    order = {"klarna_authorization_token": "wrong"} | {
        "klarna_payments_session_id": item["klarna_payments_session_id"]
    }
    refused = anybody.post(f"{api}/place_order", json=order)
    assert (refused.status_code, list(refused.json())) == (400, ["message"])
    assert sandbox.purchases()[0]["order_id"] is None


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("place_order", {}, 401),
        ("create_session", {}, 401),
    ],
)
def test_payways_errors_have_a_message(
    anybody: httpx.Client, path: str, body: dict[str, str], status: int
):
    answer = anybody.post(f"/external/api/v1/klarna_payments/{path}", json=body)

    assert answer.status_code == status
    assert answer.json()["message"]


def test_payway_grants_tokens_to_forms_with_the_right_scope(anybody: httpx.Client):
    asked = CREDENTIALS | {"grant_type": "none", "scope": "/external/klarna_payments/w"}
    path = "/api/authorization/access_token"

    assert anybody.post(path, data=asked).json()["expires_in"] == 3600
    assert anybody.post(path, json=asked).status_code == 400
    assert anybody.post(path, data=asked | {"scope": "/external/me/w"}).status_code == 400
    assert anybody.post(path, data=asked | {"client_secret": "x"}).status_code == 401
