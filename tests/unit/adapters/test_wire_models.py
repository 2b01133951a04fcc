"""Klarna's answers as bytes: what is kept of them, and what is a protocol error."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.builders import CANARY_TOKEN, SESSION_ID
from worker.adapters.klarna.wire_models import (
    KpSessionRead,
    SessionResponseV1,
    parse_session,
)
from worker.domain.errors import ProtocolError
from worker.domain.session import Kind, Observation

# Klarna's documentation of the read, word for word: "Happy flow examples".
WAITING = """{
    "session_id": "39a1c773-bafd-754d-af1f-b30c592f1267",
    "status": "WAITING",
    "updated_at": "2019-05-13T14:51:46.288Z",
    "expires_at": "2019-05-15T13:51:43.507Z"
}"""
IN_PROGRESS = """{
    "session_id": "39a1c773-bafd-754d-af1f-b30c592f1267",
    "status": "IN_PROGRESS",
    "updated_at": "2019-05-13T14:52:57.540Z",
    "expires_at": "2019-05-15T13:51:43.507Z"
}"""
COMPLETED_WITH_TOKEN = """{
    "session_id": "39a1c773-bafd-754d-af1f-b30c592f1267",
    "status": "COMPLETED",
    "authorization_token": "a1a8f727-2756-6058-bd3c-40069be0994b",
    "updated_at": "2019-05-13T14:54:04.675Z",
    "expires_at": "2019-05-15T13:51:43.507Z"
}"""
COMPLETED_WITH_ORDER = """{
    "session_id": "39a1c773-bafd-754d-af1f-b30c592f1267",
    "status": "COMPLETED",
    "order_id": "a1a8f727-2756-6058-bd3c-40069be0994b",
    "klarna_reference": "X438HG0Q",
    "updated_at": "2019-05-13T14:54:04.675Z",
    "expires_at": "2019-05-15T13:51:43.507Z"
}"""
EXPIRES_AT = datetime(2019, 5, 15, 13, 51, 43, 507_000, tzinfo=UTC)
COMPLETED_AT = datetime(2019, 5, 13, 14, 54, 4, 675_000, tzinfo=UTC)
# The examples in Klarna's schema of SessionResponseV1, field by field.
EVERY_FIELD = {
    "authorization_token": "70850a20-a2a0-5c70-810c-096fa6f850bb",
    "customer": {"date_of_birth": "canary-1980-01-01", "title": "Mrs"},
    "expires_at": "2038-01-19T03:14:07.000Z",
    "klarna_reference": "ffc25786",
    "manual_identification": {"national_identification_number": "canary-800101-0000"},
    "order_id": "93d644a2-43f3-11e9-b210-d663bd873d93",
    "session_id": "a15b228c-02ad-11e9-8eb2-f2801f1b9fd1",
    "status": "COMPLETED",
    "updated_at": "2038-01-19T03:14:07.000Z",
}
IN_2038 = datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC)


def parsed(document: object, *, kind: Kind = Kind.HPP, session_id: str = SESSION_ID) -> Observation:
    """Return the observation of a document: JSON text or bytes as they are, else dumped."""
    text = document if isinstance(document, (str, bytes)) else json.dumps(document)
    body = text if isinstance(text, bytes) else text.encode()
    return parse_session(body, kind=kind, session_id=session_id)


@pytest.mark.parametrize(
    ("body", "observation"),
    [
        (
            WAITING,
            Observation(
                status="WAITING",
                updated_at=datetime(2019, 5, 13, 14, 51, 46, 288_000, tzinfo=UTC),
                expires_at=EXPIRES_AT,
            ),
        ),
        (
            IN_PROGRESS,
            Observation(
                status="IN_PROGRESS",
                updated_at=datetime(2019, 5, 13, 14, 52, 57, 540_000, tzinfo=UTC),
                expires_at=EXPIRES_AT,
            ),
        ),
        (
            COMPLETED_WITH_TOKEN,
            Observation(
                status="COMPLETED",
                updated_at=COMPLETED_AT,
                expires_at=EXPIRES_AT,
                authorization_token="a1a8f727-2756-6058-bd3c-40069be0994b",
            ),
        ),
        (
            COMPLETED_WITH_ORDER,
            Observation(
                status="COMPLETED",
                updated_at=COMPLETED_AT,
                expires_at=EXPIRES_AT,
                order_id="a1a8f727-2756-6058-bd3c-40069be0994b",
                klarna_reference="X438HG0Q",
            ),
        ),
    ],
    ids=["waiting", "in-progress", "completed-with-token", "completed-with-order"],
)
def test_klarnas_documented_answers_are_understood(body: str, observation: Observation):
    assert parsed(body) == observation


def test_every_field_of_klarnas_schema_is_understood():
    assert parsed(EVERY_FIELD, session_id=EVERY_FIELD["session_id"]) == Observation(
        status="COMPLETED",
        updated_at=IN_2038,
        expires_at=IN_2038,
        order_id="93d644a2-43f3-11e9-b210-d663bd873d93",
        klarna_reference="ffc25786",
        authorization_token="70850a20-a2a0-5c70-810c-096fa6f850bb",
    )


@pytest.mark.parametrize(
    "status",
    [
        "WAITING", "BACK", "IN_PROGRESS", "MANUAL_ID_CHECK", "COMPLETED", "CANCELLED", "FAILED",
        "DISABLED", "ERROR", "TIMEOUT", "a new one", "incomplete", "Ünïcode",
    ],
)  # fmt: skip
def test_a_status_is_klarnas_word_verbatim(status: str):
    assert parsed({"status": status}) == Observation(status=status)


@pytest.mark.parametrize(
    ("status", "carried", "recorded"),
    [
        ("incomplete", {}, "incomplete"),
        ("incomplete", {"authorization_token": CANARY_TOKEN}, "authorized"),
        ("incomplete", {"authorization_token": ""}, "incomplete"),
        ("complete", {}, "complete"),
        ("complete", {"authorization_token": CANARY_TOKEN}, "complete"),
        ("on_hold", {"authorization_token": CANARY_TOKEN}, "on_hold"),
    ],
)
def test_a_kp_session_that_is_incomplete_with_a_token_is_authorized(
    status: str, carried: dict[str, str], recorded: str
):
    observation = parsed({"status": status, **carried}, kind=Kind.KP)

    assert observation.status == recorded
    assert observation.authorization_token == (carried.get("authorization_token") or None)


def test_of_a_kp_session_no_more_is_kept_than_is_of_use():
    body = {
        "status": "complete",
        "expires_at": "2038-01-19T03:14:07Z",
        "order_id": "order-1",
        "client_token": "canary",
        "billing_address": {"given_name": "canary"},
        "updated_at": "not a KP field",
    }

    observation = parsed(body, kind=Kind.KP)

    assert observation == Observation(status="complete", expires_at=IN_2038, order_id="order-1")


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("session_id", [SESSION_ID, "", None], ids=["same", "empty", "null"])
def test_the_answers_session_id_may_be_missing_but_not_another(kind: Kind, session_id: str):
    assert parsed({"status": "X", "session_id": session_id}, kind=kind).status == "X"
    with pytest.raises(ProtocolError, match="answer is of another session"):
        parsed({"status": "COMPLETED", "session_id": SESSION_ID.upper()}, kind=kind)


def test_unknown_fields_are_ignored_and_empty_or_null_ones_are_absent():
    body = {
        "status": "WAITING",
        "updated_at": None,
        "order_id": "",
        "klarna_reference": None,
        "authorization_token": "",
        "customer": None,
        "new_in_2027": {"a": [1, 2]},
    }

    assert parsed(body) == Observation(status="WAITING")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00.5Z", datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T14:00:00+02:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
        ("2200-01-01T00:00:00Z", datetime(2200, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_date_becomes_utc(text: str, moment: datetime):
    observation = parsed({"status": "X", "updated_at": text, "expires_at": text})

    assert observation.updated_at == observation.expires_at == moment
    assert observation.updated_at.utcoffset().total_seconds() == 0


BAD_TEXT = [7, True, 1.5, [], {}, ["COMPLETED"], "x" * 256, "a\nb", "a\x00", "\ud800"]
BAD_TIME = [
    7, 1547800000, True, [], {}, "", "soon", "1547800000", "-1", "1e10", "nan", "2026-03-01",
    "2026-03-01T12:00:00", "2026-02-30T12:00:00Z", "99999-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:00", "1999-12-31T23:59:59Z",
    "2200-01-01T00:00:01Z", "9999-12-31T23:59:59-23:00",
]  # fmt: skip
BAD_REQUIRED = {
    "session_id": BAD_TEXT,
    "status": BAD_TEXT,
    "order_id": BAD_TEXT,
    "authorization_token": [7, True, [], {}, ["x"], "x" * 4097],
}
BAD_OPTIONAL = {
    "klarna_reference": [*BAD_TEXT, "x" * 300],
    "updated_at": BAD_TIME,
    "expires_at": BAD_TIME,
    "customer": ["canary", 7, [], ["canary"]],
    "manual_identification": ["canary", 7, [], ["canary"]],
}
PAID = {
    "status": "COMPLETED",
    "authorization_token": CANARY_TOKEN,
    "updated_at": "2038-01-19T03:14:07Z",
    "expires_at": "2038-01-19T03:14:07Z",
    "klarna_reference": "R1",
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in BAD_REQUIRED.items() for value in values],
    ids=lambda value: ascii(value)[:25],
)
def test_a_wrong_id_status_token_or_order_is_a_protocol_error_that_names_only_the_field(
    field: str, value: object
):
    with pytest.raises(ProtocolError) as refused:
        parsed({"status": "WAITING", "customer": [], field: value})

    assert str(refused.value) == f"protocol_error: HTTP 200: wrong type: {field}"
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in BAD_OPTIONAL.items() for value in values],
    ids=lambda value: ascii(value)[:25],
)
def test_any_other_wrong_field_counts_as_absent_and_hides_no_payment(field: str, value: object):
    without = {name: there for name, there in PAID.items() if name != field}

    observation = parsed(PAID | {field: value})

    assert observation == replace(parsed(without), ignored_fields=(field,))
    assert observation.authorization_token == CANARY_TOKEN


def test_every_wrong_field_that_is_ignored_is_named():
    wrong = {"updated_at": "", "customer": [], "expires_at": 7, "klarna_reference": "x" * 300}

    observation = parsed({"status": "COMPLETED", "order_id": "order-1", **wrong})

    assert observation == Observation(
        status="COMPLETED", order_id="order-1", ignored_fields=tuple(sorted(wrong))
    )


def test_a_wrong_date_of_a_kp_session_counts_as_absent():
    observation = parsed({"status": "complete", "expires_at": "soon"}, kind=Kind.KP)

    assert observation == Observation(status="complete", ignored_fields=("expires_at",))


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "body is not JSON"),
        (b"<html>504 Gateway Time-out</html>", "body is not JSON"),
        (b'{"status": "WAITING"', "body is not JSON"),
        (b"\xff\xfe\xfa", "body is not JSON"),
        (b'{"status": "\xff"}', "body is not JSON"),
        (b"[" * 100_000, "body is not JSON"),
        (b'{"a":' * 100_000, "body is not JSON"),
        (b'{"status": "X", "n": ' + b"9" * 5000 + b"}", "body is not JSON"),
        (b"[]", "body is not an object"),
        (b"null", "body is not an object"),
        (b'"COMPLETED"', "body is not an object"),
        (b"NaN", "body is not an object"),
        (b"{}", "no status"),
        (b'{"status": null}', "no status"),
        (b'{"status": ""}', "no status"),
        (b'{"Status": "COMPLETED"}', "no status"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_no_answer_to_the_read_is_a_protocol_error(body: bytes, detail: str, kind: Kind):
    with pytest.raises(ProtocolError) as refused:
        parsed(body, kind=kind)

    assert (refused.value.detail, refused.value.status_code) == (detail, 200)


def test_deep_nesting_in_what_is_ignored_is_harmless():
    deep = '{"status": "WAITING", "customer": {"a": ' + "[" * 500 + "]" * 500 + "}}"

    assert parsed(deep).status == "WAITING"


def test_personal_data_is_in_no_repr_no_dump_and_no_observation():
    secret = EVERY_FIELD | {"authorization_token": "canary-token"}

    answer = SessionResponseV1.model_validate(secret)
    kp_answer = KpSessionRead.model_validate(secret)
    observation = parsed(secret, session_id=secret["session_id"])

    shown = f"{answer!r} {answer} {answer.model_dump()} {kp_answer!r} {observation!r}"
    assert "canary" not in shown
