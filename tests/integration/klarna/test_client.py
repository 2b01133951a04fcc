"""A read at Klarna: its request, allowed origins, its deadline, and the text of its errors."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME, SandboxClient
from tests.hostile.listening import Listener, answer
from tests.support.klarna_reads import CREDENTIALS, at, tracked_session, was_connected_to
from worker.adapters.klarna.client import Credentials, HttpxKlarna
from worker.domain.errors import (
    AccountNotConfiguredError,
    ConnectionFailedError,
    DeadlineExceededError,
    ObservationError,
    OriginNotAllowedError,
    ProtocolError,
)

pytestmark = pytest.mark.anyio

# For an answer that never comes; all others come at once.
SHORT = timedelta(seconds=0.4)
CANARY = "canary-of-the-body"
BASIC = "Basic " + base64.b64encode(f"{DEFAULT_USERNAME}:{DEFAULT_PASSWORD}".encode()).decode()


def headers_of(request: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in request["headers"]}


# --- no connection, no answer in time


async def test_a_refused_connection_is_a_retry(make_klarna: Callable[..., HttpxKlarna]):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        session = at(closed)
    klarna = make_klarna(origins=(session.session_url.partition("/hpp")[0],))

    with pytest.raises(ConnectionFailedError):
        await klarna.read(session)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "hold"},
        {"kind": "delay", "delay_seconds": 60},
        {"kind": "drip", "interval_seconds": 0.05},
        {"kind": "slow_headers", "interval_seconds": 0.05},
    ],
    ids=lambda fault: fault["kind"],
)
async def test_whatever_takes_too_long_ends_at_the_total_deadline(
    sandbox: SandboxClient, make_klarna: Callable[..., HttpxKlarna], fault: dict[str, Any]
):
    created = sandbox.create_session(faults=[fault])

    with pytest.raises(DeadlineExceededError, match="no whole answer within"):
        await make_klarna(timeout=SHORT).read(tracked_session(created))


async def test_a_server_that_says_nothing_ends_at_the_total_deadline(
    make_klarna: Callable[..., HttpxKlarna], listener: socket.socket
):
    session = at(listener)
    klarna = make_klarna(timeout=SHORT, origins=(session.session_url.partition("/hpp")[0],))

    with pytest.raises(DeadlineExceededError):
        await klarna.read(session)


async def test_a_connection_lost_in_answer_to_a_read_costs_one_request(
    make_klarna: Callable[..., HttpxKlarna],
):
    """On a connection that has served a read before: clients like to send a GET again there."""
    body = b'{"session_id": "some-id", "status": "WAITING"}'
    served = 0

    def once(connection: socket.socket) -> None:
        nonlocal served
        connection.sendall(answer(body))
        while connection.recv(65_536):
            served += 1
            connection.shutdown(socket.SHUT_RDWR)

    with Listener(once) as listener:
        klarna = make_klarna(origins=(listener.origin,))
        session = at(listener.server)
        await klarna.read(session)
        with pytest.raises(ConnectionFailedError, match="ServerDisconnectedError"):
            await klarna.read(session)

        assert served == 1
        assert len(listener.heard()) == 1


# --- what is sent, and to whom


async def test_a_request_is_sent_as_klarna_documents_it(
    sandbox: SandboxClient, klarna: HttpxKlarna
):
    created = sandbox.create_session()

    await klarna.read(tracked_session(created))

    (request,) = sandbox.requests()
    headers = headers_of(request)
    assert (request["method"], request["query"]) == ("GET", "")
    assert created["session_url"].endswith(request["path"])
    assert headers["authorization"] == BASIC
    assert headers["cache-control"] == "no-cache"
    assert headers["accept"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    name, _, version = headers["user-agent"].partition("/")
    assert (name, version[:1].isdigit()) == ("klarna-session-worker", True)


async def test_each_account_sends_its_own_credentials(
    sandbox: SandboxClient, make_klarna: Callable[..., HttpxKlarna]
):
    sandbox.put_account("other", username="other-user", password="päss:word")
    other = Credentials("other-user", "päss:word")
    klarna = make_klarna(accounts={"default": CREDENTIALS, "other": other})
    created = sandbox.create_session(account="other")

    seen = await klarna.read(tracked_session(created, account="other"))

    assert seen.status == "WAITING"
    assert "päss" not in repr(other)


async def test_a_cookie_is_never_sent_back(sandbox: SandboxClient, klarna: HttpxKlarna):
    created = sandbox.create_session(faults=[{"kind": "set_cookie"}])

    await klarna.read(tracked_session(created))
    await klarna.read(tracked_session(created))

    assert [headers_of(r).get("cookie") for r in sandbox.requests()] == [None, None]


async def test_an_account_without_credentials_sends_nothing(
    sandbox: SandboxClient, klarna: HttpxKlarna
):
    created = sandbox.create_session()

    with pytest.raises(AccountNotConfiguredError):
        await klarna.read(tracked_session(created, account="unknown"))

    assert sandbox.requests() == []


async def test_nothing_is_sent_to_an_origin_that_is_not_allowed(
    klarna: HttpxKlarna, listener: socket.socket
):
    with pytest.raises(OriginNotAllowedError) as raised:
        await klarna.read(at(listener))

    assert not was_connected_to(listener)
    assert "127.0.0.1" not in str(raised.value)


async def test_a_redirect_elsewhere_is_not_followed(
    sandbox: SandboxClient, klarna: HttpxKlarna, listener: socket.socket
):
    created = sandbox.create_session(
        faults=[{"kind": "redirect", "location": at(listener).session_url}]
    )

    with pytest.raises(ProtocolError):
        await klarna.read(tracked_session(created))

    assert not was_connected_to(listener)


async def test_proxies_that_the_environment_names_are_ignored(
    sandbox: SandboxClient,
    make_klarna: Callable[..., HttpxKlarna],
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
):
    host, port = listener.getsockname()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{host}:{port}")
    created = sandbox.create_session()

    seen = await make_klarna().read(tracked_session(created))

    assert seen.status == "WAITING"
    assert not was_connected_to(listener)


async def test_a_proxy_that_is_configured_is_used(
    sandbox: SandboxClient, make_klarna: Callable[..., HttpxKlarna], listener: socket.socket
):
    host, port = listener.getsockname()
    klarna = make_klarna(timeout=SHORT, proxy_url=f"http://{host}:{port}")

    with pytest.raises(DeadlineExceededError):
        await klarna.read(tracked_session(sandbox.create_session()))

    assert was_connected_to(listener)
    assert sandbox.requests() == []


# --- what an error tells


@pytest.mark.parametrize("code", [403, 404, 500, 418])
async def test_the_correlation_id_is_kept_for_klarnas_support(
    sandbox: SandboxClient, klarna: HttpxKlarna, code: int
):
    headers = [("Klarna-Correlation-Id", "a1b2-c3")]
    fault = {"kind": "exact", "code": code, "headers": headers}

    with pytest.raises(ObservationError) as raised:
        await klarna.read(tracked_session(sandbox.create_session(faults=[fault])))

    assert raised.value.correlation_id == "a1b2-c3"
    assert "a1b2-c3" in str(raised.value)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "exact", "code": code, "body": json.dumps({"status": [CANARY], CANARY: CANARY})}
        for code in (200, 302, 401, 403, 404, 418, 429, 500)
    ]
    + [
        {"kind": "exact", "body": CANARY},
        {"kind": "exact", "body": CANARY, "headers": [("Content-Encoding", "gzip")]},
        {"kind": "raw", "text": f"{CANARY}\r\n\r\n"},
        {"kind": "raw", "text": f"HTTP/1.1 200 OK\r\nContent-Length: {CANARY}\r\n\r\n"},
        {"kind": "raw", "text": f"HTTP/1.1 200 OK\r\nX-B{{ad: {CANARY}\r\n\r\n"},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('code', '')}",
)
async def test_an_error_repeats_neither_body_nor_headers_nor_credentials(
    sandbox: SandboxClient, klarna: HttpxKlarna, fault: dict[str, Any]
):
    secrets = [("Klarna-Correlation-Id", f"no id: {CANARY}"), ("X-Other", CANARY)]
    fault = {"headers": secrets, **fault} if fault["kind"] == "exact" else fault

    with pytest.raises(ObservationError) as raised:
        await klarna.read(tracked_session(sandbox.create_session(faults=[fault])))

    shown = f"{raised.value} {raised.value!r} {raised.value.__cause__!r} {vars(raised.value)}"
    for secret in (CANARY, DEFAULT_PASSWORD, BASIC.split()[1]):
        assert secret not in shown
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
