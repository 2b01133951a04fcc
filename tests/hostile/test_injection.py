"""Strings from outside are stored as they are or refused, and mean nothing to SQL or to HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.hostile.in_process import InProcess
from tests.hostile.injections import ALL, CONTROLS, PRINTABLE
from tests.hostile.listening import Listener, answer, say
from worker.domain.errors import InvalidArgumentError

ARGUMENTS = ("session_id", "session_url", "account", "kind", "expires_at", "reference", "x-{}")
# Left out where they are wrong: the session is tracked all the same.
OPTIONAL = {"expires_at", "reference"}


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
@pytest.mark.parametrize("field", ARGUMENTS)
def test_an_argument_is_refused_without_being_repeated_or_stored_as_it_is(
    in_process: InProcess, klarna: Listener, field: str, text: str
):
    arguments = {"session_id": "an-id", field.format(text): text}
    if field == "reference" and text in PRINTABLE.values():
        in_process.track(**arguments)

        assert in_process.stored.session("an-id")["reference"] == text
        return
    if field in OPTIONAL:
        in_process.track(**arguments)

        assert in_process.stored.session("an-id")[field] is None
        return

    with pytest.raises(InvalidArgumentError) as refused:
        in_process.track(**arguments)

    assert refused.value.field in {field, "arguments"}
    assert text not in str(refused.value)
    assert str(refused.value).isprintable()
    assert in_process.stored.rows("SELECT * FROM payment_sessions") == []
    assert klarna.heard() == []


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_a_field_that_nobody_needs_is_stored_as_it_is_or_absent(
    in_process: InProcess, klarna: Listener, text: str
):
    fields = {"status": "WAITING", "klarna_reference": text}
    klarna.saying = say(answer(json.dumps(fields).encode()))

    (row,) = in_process.poll(in_process.insert())

    kept = text if text in PRINTABLE.values() else None
    assert (row["status"], row["klarna_reference"], row["last_error"]) == ("WAITING", kept, None)


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
@pytest.mark.parametrize("field", ["status", "order_id"])
def test_a_field_of_klarnas_is_a_protocol_error_or_stored_as_it_is(
    in_process: InProcess, klarna: Listener, field: str, text: str
):
    klarna.saying = say(answer(json.dumps({"status": "WAITING", field: text}).encode()))

    (row,) = in_process.poll(in_process.insert())

    if text in PRINTABLE.values():
        assert (row[field], row["last_error"]) == (text, None)
    else:
        assert row["last_error"] == f"protocol_error: HTTP 200: wrong type: {field}"
        assert (row["status"], row[field]) == (None, None)


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_what_klarna_says_beside_an_error_is_not_kept(
    in_process: InProcess, klarna: Listener, text: str
):
    header = text.translate(dict.fromkeys(b"\r\n", " ")).encode()
    body = json.dumps({"error_code": text, "correlation_id": text, text: text}).encode()
    plain = answer(body, "Klarna-Correlation-Id: HERE", "Location: HERE", code=403)
    klarna.saying = say(plain.replace(b"HERE", header))

    (row,) = in_process.poll(in_process.insert())

    # A header may be one that no HTTP reader takes.
    assert row["last_error"] in {
        "account_refused: HTTP 403",
        "connection_failed: HttpProcessingError",
    }


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_a_row_of_hostile_texts_is_polled_nowhere_and_stays_as_it_is(
    in_process: InProcess, klarna: Listener, text: str
):
    before = in_process.insert("safe", reference="safe")
    in_process.insert(text, reference=text, session_url=f"{klarna.origin}/{text}")

    hostile, safe = in_process.poll(text, before)

    assert (hostile["session_id"], hostile["reference"]) == (text, text)
    assert hostile["last_error"].startswith("origin_not_allowed: ")
    assert text not in hostile["last_error"]
    assert safe["status"] == "WAITING"
    (request,) = klarna.heard()
    assert b"/safe HTTP/1.1" in request


@pytest.mark.parametrize("text", ALL.values(), ids=ALL.keys())
def test_a_hostile_reference_comes_out_of_the_event_as_it_went_in(
    in_process: InProcess, klarna: Listener, text: str
):
    klarna.saying = say(answer(b'{"status": "CANCELLED"}'))

    in_process.poll(in_process.insert("s-1", reference=text))

    payload: dict[str, Any] = in_process.stored.value("SELECT payload FROM outbox_messages")
    assert payload["data"]["reference"] == text
    assert payload["type"] == "payment_session.cancelled"


def test_tokens_with_control_characters_are_refused(in_process: InProcess, klarna: Listener):
    for text in CONTROLS.values():
        body = json.dumps({"status": "COMPLETED", "authorization_token": text}).encode()
        klarna.saying = say(answer(body))

        (row,) = in_process.poll(in_process.insert())

        assert row["last_error"] == "protocol_error: HTTP 200: wrong type: authorization_token"
        assert row["outcome"] is None


def test_a_cookie_of_one_accounts_answer_is_sent_by_nobody(in_process: InProcess, klarna: Listener):
    cookies = [
        "Set-Cookie: a=canary; Path=/",
        "Set-Cookie: b=canary; Domain=127.0.0.1",
        "Set-Cookie: c=canary; Max-Age=9999; HttpOnly; SameSite=None",
        "Set-Cookie2: d=canary; Version=1",
    ]
    klarna.saying = say(answer(b'{"status": "WAITING"}', *cookies))

    for account in ("default", "other", "default", "other"):
        in_process.poll(in_process.insert(account=account))

    requests = [request.lower() for request in klarna.heard()]
    assert len(requests) == 4
    assert not [request for request in requests if b"cookie" in request or b"canary" in request]
    credentials = {line for r in requests for line in r.split(b"\r\n") if b"authorization" in line}
    assert len(credentials) == 2
