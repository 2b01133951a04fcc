"""Klarna's answer to creating a session, as a shop passes it on."""

from __future__ import annotations

import pytest

from worker.adapters.klarna.wire_models import parse_creation
from worker.domain.errors import InvalidArgumentError

# The examples in Klarna's schema of SessionCreationResponseV1.
CREATED_ID = "9cbc9884-1fdb-45a8-9694-9340340d0436"
CREATED_URL = f"https://api.klarna.com/hpp/v1/sessions/{CREATED_ID}"
CREATION = {
    "distribution_module": {"token": "canary", "standalone_url": "https://example.test"},
    "distribution_url": f"{CREATED_URL}/distribution",
    "expires_at": "2038-01-19T03:14:07.000Z",
    "manual_identification_check_url": f"{CREATED_URL}/manual-id-check",
    "qr_code_url": "https://pay.klarna.com/eu/hpp/payments/a94e7760-d135-2721-a538-d6294ea254ed/qr",
    "redirect_url": "https://pay.klarna.com/eu/hpp/payments/2OCkffK",
    "session_id": CREATED_ID,
    "session_url": CREATED_URL,
}


def test_klarnas_answer_to_creating_a_session_is_understood():
    created = parse_creation(CREATION)

    assert (created.session_id, created.session_url) == (CREATED_ID, CREATED_URL)
    assert created.expires_at == CREATION["expires_at"]
    assert "canary" not in f"{created!r} {created.model_dump()}"


@pytest.mark.parametrize("wrong", [7, ["x"], {"token": 1}, "2038"])
def test_a_field_that_nobody_needs_refuses_no_creation(wrong: object):
    others = CREATION.keys() - {"session_id", "session_url"}

    created = parse_creation(CREATION | dict.fromkeys(others, wrong))

    assert (created.session_id, created.session_url) == (CREATED_ID, CREATED_URL)


def test_of_a_creation_only_the_session_id_is_needed():
    created = parse_creation({"session_id": CREATED_ID, "new_in_2027": 1})

    assert (created.session_url, created.expires_at) == (None, None)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (None, "body"),
        ("canary", "body"),
        ([CREATION], "body"),
        ({}, "session_id"),
        (CREATION | {"session_id": 7}, "session_id"),
        (CREATION | {"session_id": "a\nb"}, "session_id"),
        (CREATION | {"session_url": ["canary"]}, "session_url"),
        (CREATION | {"session_url": 1, "session_id": None}, "session_id, session_url"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_creation_answer_that_is_none_names_what_is_wrong_and_no_value(
    document: object, named: str
):
    with pytest.raises(InvalidArgumentError) as refused:
        parse_creation(document)

    assert refused.value.field == "response"
    assert str(refused.value) == f"response: wrong or missing: {named}"
