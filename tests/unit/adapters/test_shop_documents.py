"""Documents of shop systems: which ids are kept, and errors that name their place."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.adapters.shop_systems.documents import parse_klarna_payment, parse_purchase
from worker.domain.errors import InvalidArgumentError

SESSION_ID = "0b1d9815-165e-42e2-8867-35bc03789e00"
CANARY = "canary-secret-of-the-document"
# The whole example of Payway's documentation.
DOCUMENTED_TOKEN = (
    "eyJhbGciOIJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpZCI6IjAwMDAwMDAwMDAtMDAwMDAtMDAwMC0wMDAwMDAwMC0wMDAw"
    "IiwidXJsIjoiaHR0cHM6Ly9jcmVkaXQtZXUua2xhcm5hLmNvbSJ9.A_rHWMSXQN2NRNGYTREBTkGwYwtm-sulkSDMvlJL87M"
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=10,
)


def a_resource(**changes: object) -> dict[str, Any]:
    data: dict[str, Any] = {
        "type": "klarna_payments",
        "id": "ertHJlpPTR",
        "attributes": {"session_id": SESSION_ID, "client_token": CANARY, "auth_token": CANARY},
        "relationships": {"order": {"data": {"type": "orders", "id": "qaMAhZkZvd"}}},
    }
    return {"data": data | changes}


def a_token(payload: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    return f"header.{body}.{CANARY}"


def a_purchase(**changes: object) -> dict[str, Any]:
    item = {
        "klarna_payments_session_id": "5aba2ca36fc93613f8000012",
        "klarna_client_token": a_token({"session_id": SESSION_ID}),
    }
    return {"item": item | changes}


def test_a_klarna_payment_is_tracked_by_its_kp_session():
    payment = parse_klarna_payment(a_resource())

    assert payment.session_id == SESSION_ID
    assert payment.shop_objects == {
        "commerce_layer": {"klarna_payment_id": "ertHJlpPTR", "order_id": "qaMAhZkZvd"}
    }
    assert CANARY not in repr(payment)


@pytest.mark.parametrize("order", [{"links": {"self": "x"}}, {"data": None}, {}])
def test_a_klarna_payment_need_not_name_its_order(order: dict[str, Any]):
    """Commerce Layer links it only on request."""
    payment = parse_klarna_payment(a_resource(relationships={"order": order}))

    assert payment.shop_objects == {"commerce_layer": {"klarna_payment_id": "ertHJlpPTR"}}


@pytest.mark.parametrize(
    ("resource", "problem"),
    [
        (None, "/data/type must be klarna_payments"),
        ("text", "/data/type must be klarna_payments"),
        (a_resource(type="orders"), "/data/type must be klarna_payments"),
        (a_resource(id=None), "/data/id is missing"),
        (a_resource(id="../orders/x"), "/data/id must be 1 to 64 letters"),
        (a_resource(id=7), "/data/id must be 1 to 64 letters"),
        (a_resource(attributes={}), "/data/attributes/session_id is missing"),
        (a_resource(attributes=[]), "/data/attributes/session_id is missing"),
        (a_resource(attributes={"session_id": CANARY + "/x"}), "/data/attributes/session_id must"),
        (
            a_resource(relationships={"order": {"data": {"id": "a b"}}}),
            "/data/relationships/order/data/id must be",
        ),
    ],
)
def test_a_wrong_klarna_payment_is_refused_by_the_place_of_its_fault(
    resource: object, problem: str
):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_klarna_payment(resource)

    assert str(caught.value).startswith(f"resource: {problem}")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("name", ["session_id", "id"])
def test_a_purchase_is_tracked_by_what_its_client_token_says(name: str):
    """`session_id`, else `id`."""
    purchase = parse_purchase(a_purchase(klarna_client_token=a_token({name: SESSION_ID})))

    assert purchase.session_id == SESSION_ID
    assert purchase.shop_objects == {
        "payway": {"klarna_payments_session_id": "5aba2ca36fc93613f8000012"}
    }
    assert CANARY not in repr(purchase)


def test_the_documented_example_is_understood():
    purchase = parse_purchase(a_purchase(klarna_client_token=DOCUMENTED_TOKEN))

    assert purchase.session_id == "0000000000-00000-0000-00000000-0000"


def test_a_given_session_id_is_taken_whatever_the_token_says():
    purchase = parse_purchase(a_purchase(klarna_client_token="opaque"), SESSION_ID)

    assert purchase.session_id == SESSION_ID


@pytest.mark.parametrize(
    "token",
    [
        None,
        7,
        "opaque",
        "a.b",
        "a.b.c.d",
        "a.%%%.c",
        f"a.{'A' * 20_000}.c",
        a_token([SESSION_ID]),
        a_token({"session_id": 7}),
        a_token({"session_id": None, "id": ""}),
        "a.bm90IGpzb24.c",
        "a.ww.c",
    ],
    ids=str,
)
def test_a_client_token_that_tells_nothing_says_what_to_pass(token: object):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_purchase(a_purchase(klarna_client_token=token))

    assert str(caught.value) == (
        "response: /item/klarna_client_token does not tell Klarna's session id: pass session_id"
    )


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (None, "/item/klarna_payments_session_id is missing"),
        ({"item": []}, "/item/klarna_payments_session_id is missing"),
        (a_purchase(klarna_payments_session_id="a/b"), "/item/klarna_payments_session_id must be"),
        (
            a_purchase(klarna_client_token=a_token({"id": CANARY + "/"})),
            "/item/klarna_client_token must be",
        ),
    ],
)
def test_a_wrong_purchase_is_refused_by_the_place_of_its_fault(response: object, problem: str):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_purchase(response)

    assert str(caught.value).startswith(f"response: {problem}")
    assert CANARY not in str(caught.value)


def test_a_wrong_session_id_is_named_as_such():
    with pytest.raises(InvalidArgumentError, match=r"^session_id: must be"):
        parse_purchase(a_purchase(), "a/b")


@given(JSON)
def test_any_document_is_taken_or_refused_by_name(document: object):
    """Whatever the document, there is no other error."""
    for parse in (parse_klarna_payment, parse_purchase):
        with pytest.raises(InvalidArgumentError):
            parse(document)
