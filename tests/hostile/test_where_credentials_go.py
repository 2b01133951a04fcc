"""Not one request and not one Authorization header leaves to an origin that is not allowed.

Seen by servers that listen where the URLs lead; the last test shows that they would hear.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import httpx
import pytest

from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME
from tests.hostile.in_process import InProcess
from tests.hostile.listening import Listener, answer, say
from tests.hostile.tricky_urls import TRICKY
from worker.domain.errors import InvalidArgumentError

BASIC = base64.b64encode(f"{DEFAULT_USERNAME}:{DEFAULT_PASSWORD}".encode())
PUBLIC = re.compile(r"\.(com|io|test)\b")
FULL_WIDTH = str.maketrans("0123456789", "".join(chr(0xFF10 + n) for n in range(10)))


@pytest.fixture(scope="module")
def strangers() -> Iterator[list[Listener]]:
    """A foreign server, on one port of each loopback address."""
    with ExitStack() as stack:
        said = say(answer(b'{"status": "COMPLETED"}'))
        first = stack.enter_context(Listener(said))
        hosts = ["127.0.0.2", *(["::1"] if socket.has_dualstack_ipv6() else [])]
        others = [stack.enter_context(Listener(said, host=h, port=first.port)) for h in hosts]
        yield [first, *others]


@pytest.fixture
def everybody(klarna: Listener, strangers: list[Listener]) -> list[Listener]:
    """Each who listens, the mock Klarna server too."""
    return [klarna, *strangers]


@pytest.fixture(autouse=True)
def _silence(everybody: list[Listener]) -> None:
    """No server has received a request yet; all addresses of this machine may be connected to."""
    from pytest_socket import socket_allow_hosts  # noqa: PLC0415 - patches sockets on import

    here = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "localhost"]  # noqa: S104 - spelled
    socket_allow_hosts(here, allow_unix_socket=True)
    heard_by(everybody)


def spelled(template: str, session_id: str, klarna: Listener, strangers: list[Listener]) -> str:
    return template.format(
        klarna=klarna.origin,
        a=klarna.port,
        b=strangers[0].port,
        id=session_id,
        machine=socket.gethostname(),
        overflown=klarna.port + 65_536,
        fullwidth=str(strangers[0].port).translate(FULL_WIDTH),
    )


def heard_by(listeners: list[Listener]) -> list[bytes]:
    return [request for listener in listeners for request in listener.heard()]


@pytest.mark.parametrize("template", TRICKY.values(), ids=TRICKY.keys())
def test_a_tricky_url_in_a_message_is_refused_and_nothing_is_sent(
    in_process: InProcess,
    klarna: Listener,
    strangers: list[Listener],
    everybody: list[Listener],
    template: str,
):
    session_id = uuid4().hex
    url = spelled(template, session_id, klarna, strangers)

    with pytest.raises(InvalidArgumentError) as refused:
        in_process.track(session_id, session_url=url)

    assert refused.value.field == "session_url"
    assert url not in str(refused.value)
    assert in_process.stored.rows("SELECT * FROM payment_sessions") == []
    assert heard_by(everybody) == []


STORABLE = {name: template for name, template in TRICKY.items() if "\x00" not in template}


@pytest.mark.parametrize("template", STORABLE.values(), ids=STORABLE.keys())
def test_a_tricky_url_in_a_row_is_polled_nowhere(
    in_process: InProcess,
    klarna: Listener,
    strangers: list[Listener],
    everybody: list[Listener],
    template: str,
):
    session_id = uuid4().hex
    url = spelled(template, session_id, klarna, strangers)
    in_process.insert(session_id, session_url=url)

    (row,) = in_process.poll(session_id)

    assert heard_by(everybody) == []
    assert row["last_error"].startswith("origin_not_allowed: session_url: ")
    assert url not in row["last_error"]
    assert (row["status"], row["outcome"], row["consecutive_failures"]) == (None, None, 1)


def test_where_it_may_a_poll_sends_the_credentials_once(
    in_process: InProcess, klarna: Listener, strangers: list[Listener]
):
    session_id = in_process.insert()

    (row,) = in_process.poll(session_id)

    assert row["status"] == "WAITING"
    (request,) = klarna.heard()
    assert request.startswith(f"GET /hpp/v1/sessions/{session_id} HTTP/1.1\r\n".encode())
    assert request.count(b"authorization: Basic " + BASIC + b"\r\n") == 1
    assert heard_by(strangers) == []


def test_an_allowed_origin_of_another_account_is_refused_and_nothing_is_sent(
    in_process: InProcess, klarna: Listener, klarna_abroad: Listener
):
    """With the account named, unnamed, or stored."""
    session_id = uuid4().hex
    abroad = f"{klarna_abroad.origin}/hpp/v1/sessions/{session_id}"
    heard_by([klarna, klarna_abroad])

    for account in (None, "default", "other"):
        with pytest.raises(InvalidArgumentError) as refused:
            in_process.track(session_id, session_url=abroad, account=account)
        assert refused.value.field == "session_url"
    assert in_process.stored.rows("SELECT * FROM payment_sessions") == []

    in_process.insert(session_id)
    with pytest.raises(InvalidArgumentError) as refused:
        in_process.track(session_id, session_url=abroad)
    assert refused.value.field == "session_url"
    assert klarna.origin in in_process.stored.session(session_id)["session_url"]
    assert heard_by([klarna, klarna_abroad]) == []


def test_an_allowed_origin_of_another_account_in_a_row_is_polled_nowhere(
    in_process: InProcess, klarna: Listener, klarna_abroad: Listener
):
    session_id = uuid4().hex
    abroad = f"{klarna_abroad.origin}/hpp/v1/sessions/{session_id}"
    in_process.insert(session_id, session_url=abroad)
    heard_by([klarna, klarna_abroad])

    (row,) = in_process.poll(session_id)

    assert heard_by([klarna, klarna_abroad]) == []
    assert row["last_error"].startswith("origin_not_allowed: session_url: ")
    assert (row["status"], row["outcome"]) == (None, None)


def test_the_account_of_an_origin_sends_its_own_credentials_there(
    in_process: InProcess, klarna: Listener, klarna_abroad: Listener
):
    session_id = uuid4().hex
    abroad = f"{klarna_abroad.origin}/hpp/v1/sessions/{session_id}"
    in_process.insert(session_id, session_url=abroad, account="abroad")
    heard_by([klarna, klarna_abroad])

    (row,) = in_process.poll(session_id)

    login = base64.b64encode(b"user-abroad:password-abroad")
    (request,) = klarna_abroad.heard()
    assert request.count(b"authorization: Basic " + login + b"\r\n") == 1
    assert row["status"] == "WAITING"
    assert heard_by([klarna]) == []


LOCATIONS = {
    "elsewhere": "http://127.0.0.1:{b}" + "/hpp/v1/sessions/{id}",
    "elsewhere without a scheme": "//127.0.0.1:{b}/{id}",
    "by name": "http://localhost:{b}/{id}",
    "to the same place": "{klarna}/hpp/v1/sessions/{id}",
    "to a path": "/elsewhere/{id}",
    "nowhere": "http://[::1",
}
ELSEWHERE = {
    **{f"{code} {LOCATIONS['elsewhere']}": (code, "elsewhere") for code in range(300, 309)},
    **{f"{code}": (code, "elsewhere") for code in (310, 399, 201, 401, 407, 503)},
    **{f"302 {name}": (302, name) for name in LOCATIONS},
}


@pytest.mark.parametrize(
    ("code", "where"), ELSEWHERE.values(), ids=[f"{c} {w}" for c, w in ELSEWHERE.values()]
)
def test_an_answer_that_asks_to_go_elsewhere_is_not_followed(
    in_process: InProcess,
    klarna: Listener,
    strangers: list[Listener],
    code: int,
    where: str,
):
    session_id = in_process.insert()
    there = spelled(LOCATIONS[where], session_id, klarna, strangers)
    asking = [f"{name}: {there}" for name in ("Location", "Content-Location", "Alt-Svc")]
    asking += [f"Refresh: 0; url={there}", 'WWW-Authenticate: Digest realm="x", nonce="y"']
    klarna.saying = say(answer(b"", *asking, 'Proxy-Authenticate: Basic realm="x"', code=code))

    (row,) = in_process.poll(session_id)

    assert len(klarna.heard()) == 1
    assert heard_by(strangers) == []
    assert row["last_error"]
    assert there not in row["last_error"]
    assert (row["status"], row["outcome"]) == (None, None)


def test_the_table_is_long_and_the_listeners_would_hear_what_it_leads_to(
    klarna: Listener, strangers: list[Listener], everybody: list[Listener]
):
    """Without checks, a client reaches them through many of these URLs."""
    assert len(TRICKY) >= 60
    with httpx.Client(timeout=2, trust_env=False, auth=("user", "secret")) as careless:
        for template in TRICKY.values():
            if PUBLIC.search(template):
                continue
            # Its own faults are of no interest, nor what the tests' network guard refuses.
            with contextlib.suppress(Exception):
                careless.get(spelled(template, "x", klarna, strangers))

    heard = heard_by(everybody)
    assert len(heard) >= 30
    assert sum(b"Authorization: Basic" in request for request in heard) >= 30
