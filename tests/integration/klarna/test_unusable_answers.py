"""Answers of Klarna that become typed errors, over real HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.klarna_reads import tracked_session
from worker.adapters.klarna.client import HttpxKlarna
from worker.domain.errors import (
    AccountRefusedError,
    ConnectionFailedError,
    ObservationError,
    ProtocolError,
    RateLimitedError,
    ServerError,
    SessionNotFoundError,
    Verdict,
)

pytestmark = pytest.mark.anyio


STATUSES: dict[str, tuple[dict[str, Any], type[ObservationError], Verdict, int]] = {
    "401 html": ({"code": 401}, AccountRefusedError, Verdict.PAUSE_ACCOUNT, 401),
    "403 json": ({"code": 403}, AccountRefusedError, Verdict.PAUSE_ACCOUNT, 403),
    "403 html": (
        {"code": 403, "body": "abuse"},
        AccountRefusedError,
        Verdict.PAUSE_ACCOUNT,
        403,
    ),
    "404": ({"code": 404}, SessionNotFoundError, Verdict.NOT_FOUND, 404),
    "429": ({"code": 429}, RateLimitedError, Verdict.SLOW_ACCOUNT, 429),
    "500": ({"code": 500}, ServerError, Verdict.RETRY, 500),
    "500 html": ({"code": 500, "body": "html"}, ServerError, Verdict.RETRY, 500),
    "503": ({"code": 503}, ServerError, Verdict.RETRY, 503),
    "undocumented": ({"code": 418}, ProtocolError, Verdict.RETRY, 418),
}


@pytest.mark.parametrize(
    ("fault", "error", "verdict", "code"), STATUSES.values(), ids=STATUSES.keys()
)
async def test_an_error_status_is_its_typed_error(
    sandbox: SandboxClient,
    klarna: HttpxKlarna,
    fault: dict[str, Any],
    error: type[ObservationError],
    verdict: Verdict,
    code: int,
):
    created = sandbox.create_session(faults=[{"kind": "status", **fault}])

    with pytest.raises(error) as raised:
        await klarna.read(tracked_session(created))

    assert raised.value.verdict is verdict
    assert raised.value.status_code == code
    assert f"HTTP {code}" in str(raised.value)


async def test_a_session_that_klarna_does_not_know_is_not_found(
    sandbox: SandboxClient, klarna: HttpxKlarna
):
    known = sandbox.create_session()
    url = known["session_url"].replace(known["session_id"], "unknown")

    with pytest.raises(SessionNotFoundError):
        await klarna.read(tracked_session(known, session_id="unknown", session_url=url))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([("X-Ratelimit-Reset", "1")], 1),
        ([("Retry-After", "7")], 7),
        ([("Retry-After", "7"), ("X-Ratelimit-Reset", "1")], 7),
        ([("Retry-After", "soon"), ("X-Ratelimit-Reset", "2")], 2),
        ([], None),
        ([("Retry-After", "soon")], None),
        ([("Retry-After", "-3")], None),
        ([("Retry-After", "0")], None),
        ([("Retry-After", "nan")], None),
        ([("Retry-After", "inf")], None),
        ([("Retry-After", "999999999")], None),
    ],
    ids=lambda value: repr(value) if isinstance(value, list) else "",
)
async def test_a_429_says_how_long_to_wait(
    sandbox: SandboxClient,
    klarna: HttpxKlarna,
    headers: list[tuple[str, str]],
    seconds: float | None,
):
    created = sandbox.create_session(faults=[{"kind": "exact", "code": 429, "headers": headers}])

    with pytest.raises(RateLimitedError) as raised:
        await klarna.read(tracked_session(created))

    assert raised.value.retry_after == (timedelta(seconds=seconds) if seconds else None)


@pytest.mark.parametrize(
    ("date", "retry_after", "seconds"),
    [
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 2026 07:28:00 -0000", "Wed, 21 Oct 2026 07:28:30 GMT", None),
        ("no date", "Wed, 21 Oct 2026 07:28:30 GMT", None),
    ],
    ids=["later", "earlier", "one without zone", "unreadable"],
)
async def test_a_429_may_name_a_date_which_counts_from_the_answers_own(
    sandbox: SandboxClient,
    klarna: HttpxKlarna,
    date: str,
    retry_after: str,
    seconds: float | None,
):
    head = f"HTTP/1.1 429 Too Many\r\nDate: {date}\r\nRetry-After: {retry_after}\r\n"
    text = f"{head}Content-Length: 0\r\n\r\n"
    created = sandbox.create_session(faults=[{"kind": "raw", "text": text}])

    with pytest.raises(RateLimitedError) as raised:
        await klarna.read(tracked_session(created))

    assert raised.value.retry_after == (timedelta(seconds=seconds) if seconds else None)


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "not json": ({"kind": "invalid_json"}, "body is not JSON"),
    "empty": ({"kind": "empty_body"}, "body is not JSON"),
    "cut short": ({"kind": "truncated", "declared": "short"}, "body is not JSON"),
    "deeply nested": ({"kind": "exact", "body": "[" * 100_000}, "body is not JSON"),
    "not an object": ({"kind": "not_object"}, "not an object"),
    "no status": ({"kind": "no_status"}, "no status"),
    "empty status": ({"kind": "edit", "set": {"status": ""}}, "no status"),
    "wrong types": ({"kind": "wrong_types"}, "wrong type: "),
    "control characters": ({"kind": "edit", "set": {"status": "WAI\u0000TING"}}, "type: status"),
    "another session": ({"kind": "wrong_session_id"}, "of another session"),
    "oversized": ({"kind": "oversized"}, "over 256 KiB"),
    "oversized, chunked": ({"kind": "oversized", "declared": False}, "over 256 KiB"),
    "gzip bomb": ({"kind": "gzip_bomb"}, "over 256 KiB"),
    "false gzip": (
        {"kind": "exact", "body": "{}", "headers": [("Content-Encoding", "gzip")]},
        "does not decompress",
    ),
    "unknown encoding": (
        {"kind": "exact", "body": "{}", "headers": [("Content-Encoding", "br")]},
        "unknown content encoding",
    ),
    "two lengths": (
        {
            "kind": "raw",
            "text": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        },
        "not valid HTTP",
    ),
    "not http": ({"kind": "raw", "text": "SSH-2.0-OpenSSH_9.9\r\n"}, "not valid HTTP"),
    "huge header": ({"kind": "big_headers"}, "not valid HTTP"),
    "redirect": (
        {"kind": "redirect", "location": "/hpp/v1/sessions/elsewhere"},
        "redirects are not followed",
    ),
}


@pytest.mark.parametrize(("fault", "problem"), MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_answer_is_a_protocol_error_that_says_what_is_wrong(
    sandbox: SandboxClient, klarna: HttpxKlarna, fault: dict[str, Any], problem: str
):
    created = sandbox.create_session(faults=[fault])

    with pytest.raises(ProtocolError) as raised:
        await klarna.read(tracked_session(created))

    assert problem in str(raised.value)
    assert raised.value.verdict is Verdict.RETRY
    assert len(sandbox.requests(session_id=created["session_id"])) == 1


BROKEN: dict[str, dict[str, Any]] = {
    "reset": {"kind": "reset"},
    "closed": {"kind": "close"},
    "closed in the body": {"kind": "truncated", "declared": "full"},
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
async def test_a_connection_that_breaks_is_a_retry(
    sandbox: SandboxClient, klarna: HttpxKlarna, fault: dict[str, Any]
):
    created = sandbox.create_session(faults=[fault])

    with pytest.raises(ConnectionFailedError) as raised:
        await klarna.read(tracked_session(created))

    assert raised.value.verdict is Verdict.RETRY
