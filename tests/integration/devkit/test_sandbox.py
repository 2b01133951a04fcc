"""The mock Klarna server over real HTTP: responses, scripts, every fault."""

import base64
import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import get_args

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from devkit.sandbox.client import SandboxClient
from devkit.sandbox.client_connection import SandboxControlError
from devkit.sandbox.client_types import ChangeFields, FaultFields, FaultKind, ScriptFields
from devkit.sandbox.faults import AnyFault
from devkit.sandbox.scripts import SessionScript, StatusChange
from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME, SandboxServer

DOCUMENTED = {"session_id": "39a1c773-bafd-754d-af1f-b30c592f1267"}
DOCUMENTED_EXPIRY = {"expires_at": "2019-05-15T13:51:43.507Z"}
DOCUMENTED_ORDER = {
    "order_id": "a1a8f727-2756-6058-bd3c-40069be0994b",
    "klarna_reference": "X438HG0Q",
}
DOCUMENTED_TOKEN = {"authorization_token": "a1a8f727-2756-6058-bd3c-40069be0994b"}


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(requests_per_second=0, seed=7) as running:
        yield running


@pytest.fixture
def sandbox(server: SandboxServer) -> Iterator[SandboxClient]:
    server.client.reset()
    server.client.put_account(requests_per_second=0)
    yield server.client
    server.client.reset()


@pytest.fixture(scope="module")
def klarna(server: SandboxServer) -> Iterator[httpx.Client]:
    auth = (DEFAULT_USERNAME, DEFAULT_PASSWORD)
    with httpx.Client(base_url=server.url, auth=auth, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.mark.parametrize(
    ("mode", "status", "updated_at", "carried"),
    [
        ("NONE", "WAITING", "2019-05-13T14:51:46.288Z", {}),
        ("NONE", "IN_PROGRESS", "2019-05-13T14:52:57.540Z", {}),
        ("NONE", "COMPLETED", "2019-05-13T14:54:04.675Z", DOCUMENTED_TOKEN),
        ("PLACE_ORDER", "COMPLETED", "2019-05-13T14:54:04.675Z", DOCUMENTED_ORDER),
        ("CAPTURE_ORDER", "COMPLETED", "2019-05-13T14:54:04.675Z", DOCUMENTED_ORDER),
    ],
)
def test_documented_examples_come_out_verbatim(
    sandbox: SandboxClient,
    klarna: httpx.Client,
    mode: str,
    status: str,
    updated_at: str,
    carried: dict[str, str],
):
    step = {"status": status, "updated_at": updated_at}
    created = sandbox.create_session(
        **DOCUMENTED, **DOCUMENTED_EXPIRY, **carried, place_order_mode=mode, steps=[step]
    )
    expected = DOCUMENTED | {"status": status} | carried | {"updated_at": updated_at}
    body = klarna.get(created["session_url"]).json()
    assert list(body.items()) == list((expected | DOCUMENTED_EXPIRY).items())


def test_script_unfolds_with_the_clock(sandbox: SandboxClient, klarna: httpx.Client):
    url = sandbox.create_session(steps=[[2, "IN_PROGRESS"], [5, "FAILED"], [9, "COMPLETED"]])[
        "session_url"
    ]
    seen = [klarna.get(url).json()]
    for seconds in (3, 3, 4):
        sandbox.advance_clock(seconds)
        seen.append(klarna.get(url).json())
    assert [body["status"] for body in seen] == ["WAITING", "IN_PROGRESS", "FAILED", "COMPLETED"]
    assert [body["updated_at"] for body in seen] == sorted({body["updated_at"] for body in seen})
    assert "authorization_token" in seen[-1]
    assert "authorization_token" not in seen[-2]


def test_status_set_by_hand_ends_the_script_unless_asked(
    sandbox: SandboxClient, klarna: httpx.Client
):
    left, kept = (sandbox.create_session(steps=[[60, "COMPLETED"]]) for _ in range(2))
    sandbox.set_status(left["session_id"], "BACK")
    sandbox.set_status(kept["session_id"], "BACK", keep_steps=True, updated_at=-3600)
    assert klarna.get(kept["session_url"]).json()["updated_at"] < left["expires_at"]
    sandbox.advance_clock(61)
    statuses = [klarna.get(session["session_url"]).json()["status"] for session in (left, kept)]
    assert statuses == ["BACK", "COMPLETED"]


@pytest.mark.parametrize(
    ("carries", "fields"),
    [
        ("token", {"authorization_token"}),
        ("order", {"order_id", "klarna_reference"}),
        ("both", {"authorization_token", "order_id", "klarna_reference"}),
        ("neither", set()),
    ],
)
def test_completed_carries_what_is_asked(
    sandbox: SandboxClient, klarna: httpx.Client, carries: str, fields: set[str]
):
    created = sandbox.create_session(carries=carries, steps=[[0, "COMPLETED"]])
    body = klarna.get(created["session_url"]).json()
    assert set(body) - {"session_id", "status", "updated_at", "expires_at"} == fields


def test_answers_may_be_shaped_freely(sandbox: SandboxClient, klarna: httpx.Client):
    """Personal data, extra and missing fields, and whole bodies."""
    shaped = sandbox.create_session(
        customer={"name": "Canary Consumer"}, extra={"unheard": [1]}, omit=["session_id"]
    )
    exact = sandbox.create_session(steps=[{"status": "COMPLETED", "body": [1, None]}])
    body = klarna.get(shaped["session_url"]).json()
    assert body["customer"] == {"name": "Canary Consumer"}
    assert body["unheard"] == [1]
    assert "session_id" not in body
    assert klarna.get(exact["session_url"]).json() == [1, None]


@pytest.mark.parametrize(("choice", "code"), [("last_status", 200), ("not_found", 404)])
def test_read_past_expiry_is_either_answer(
    sandbox: SandboxClient, klarna: httpx.Client, choice: str, code: int
):
    created = sandbox.create_session(expires_in=10, after_expiry=choice)
    assert klarna.get(created["session_url"]).status_code == 200
    sandbox.advance_clock(11)
    assert klarna.get(created["session_url"]).status_code == code


def test_hpp_session_lives_through_klarnas_own_endpoints(
    sandbox: SandboxClient, klarna: httpx.Client
):
    request = {
        "payment_session_url": "https://api.klarna.com/payments/v1/sessions/x",
        "options": {"place_order_mode": "CAPTURE_ORDER"},
    }
    sandbox.set_default_script(steps=[[5, "COMPLETED"]])
    answer = klarna.post("/hpp/v1/sessions", json=request)
    created = answer.json()
    assert answer.status_code == 201
    assert created["session_url"].endswith(f"/hpp/v1/sessions/{created['session_id']}")
    assert {"expires_at", "redirect_url", "qr_code_url", "distribution_url"} <= set(created)
    assert klarna.get(created["session_url"]).json()["status"] == "WAITING"
    sandbox.advance_clock(6)
    assert klarna.get(created["session_url"]).json()["klarna_reference"]
    assert klarna.delete(created["session_url"]).status_code == 400


def test_delete_disables_once(sandbox: SandboxClient, klarna: httpx.Client):
    url = sandbox.create_session(steps=[[60, "COMPLETED"]])["session_url"]
    assert [klarna.delete(url).status_code for _ in range(2)] == [204, 204]
    sandbox.advance_clock(61)
    assert klarna.get(url).json()["status"] == "DISABLED"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "payment_session_url"),
        ({"payment_session_url": "u", "options": 1}, "options"),
        ({"payment_session_url": "u", "options": {"place_order_mode": "X"}}, "place_order_mode"),
        ([], "JSON object"),
    ],
)
@pytest.mark.usefixtures("sandbox")
def test_bad_creation_is_refused_as_klarna_does(klarna: httpx.Client, body: object, field: str):
    answer = klarna.post("/hpp/v1/sessions", json=body)
    assert answer.status_code == 400
    assert field in answer.json()["error_messages"][0]
    assert answer.json()["correlation_id"] == answer.headers["klarna-correlation-id"]


def test_kp_session_shows_token_and_personal_data(sandbox: SandboxClient, klarna: httpx.Client):
    created = klarna.post("/payments/v1/sessions", json={"order_amount": 1}).json()
    session_id = created["session_id"]
    url = f"/payments/v1/sessions/{session_id}"
    payload = created["client_token"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=="))["session_id"] == session_id
    assert created["payment_method_categories"]
    before = klarna.get(url).json()
    sandbox.set_status(session_id, "authorized")
    authorized = klarna.get(url).json()
    placed = klarna.post(f"/payments/v1/authorizations/{authorized['authorization_token']}/order")
    assert (before["status"], "authorization_token" in before) == ("incomplete", False)
    assert authorized["status"] == "incomplete"
    assert {"client_token", "customer", "billing_address"} <= set(authorized)
    assert placed.json()["order_id"]
    assert klarna.get(url).json()["status"] == "complete"


def test_token_places_one_order_within_its_hour(sandbox: SandboxClient, klarna: httpx.Client):
    used, late = (sandbox.create_session(steps=[[5, "COMPLETED"]]) for _ in range(2))
    used_url, late_url = (
        f"/payments/v1/authorizations/{created['authorization_token']}/order"
        for created in (used, late)
    )
    assert klarna.post(used_url).status_code == 404, "not authorized yet"
    sandbox.advance_clock(6)
    assert [klarna.post(used_url).status_code for _ in range(3)] == [200, 403, 403]
    sandbox.advance_clock(3600)
    assert klarna.post(late_url).json()["error_code"] == "NOT_FOUND"
    assert klarna.post(used_url).status_code == 403, "its first error is repeated"
    assert [sandbox.session(created["session_id"])["orders"] for created in (used, late)] == [1, 0]


def test_wrong_credentials_get_an_html_page(sandbox: SandboxClient, klarna: httpx.Client):
    url = sandbox.create_session()["session_url"]
    sandbox.put_account("other", username="other", password="other")
    refused = klarna.get(url, auth=("nobody", "nothing"))
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "text/html"
    assert "klarna-correlation-id" not in refused.headers
    assert klarna.get(url, auth=("other", "other")).status_code == 404, "another's session"
    assert [entry["account"] for entry in sandbox.requests()] == [None, "other"]


@pytest.mark.parametrize("path", ["/hpp/v1/sessions/unknown", "/elsewhere"])
@pytest.mark.usefixtures("sandbox")
def test_unknown_is_klarnas_not_found(klarna: httpx.Client, path: str):
    answer = klarna.get(path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error_code", "error_messages", "correlation_id"}


def test_limiter_answers_an_empty_429_per_account(sandbox: SandboxClient, klarna: httpx.Client):
    url = sandbox.create_session()["session_url"]
    sandbox.put_account("other", username="other", password="other")
    sandbox.set_limiter(2, account="default")
    answers = [klarna.get(url) for _ in range(6)]
    limited = next(answer for answer in answers if answer.status_code == 429)
    assert answers[0].headers["x-ratelimit-limit"] == "2, 2;w=1"
    assert answers[0].headers["x-ratelimit-remaining"] == "1"
    assert limited.content == b""
    assert limited.headers["x-ratelimit-reset"] == "1"
    assert not {"content-type", "retry-after", "klarna-correlation-id"} & set(limited.headers)
    assert klarna.get(url, auth=("other", "other")).status_code == 404


@pytest.mark.parametrize(
    ("fault", "code", "content_type", "text"),
    [
        ({"code": 401}, 401, "text/html", "Authorization Required"),
        ({"code": 403}, 403, "application/json", '"error_code":"FORBIDDEN"'),
        ({"code": 403, "body": "abuse"}, 403, "text/html", "Access Denied"),
        ({"code": 404}, 404, "application/json", '"error_code":"NOT_FOUND"'),
        ({"code": 429}, 429, None, ""),
        ({"code": 429, "retry_after": "7"}, 429, None, ""),
        ({"code": 500}, 500, "application/json", "INTERNAL_SERVER_ERROR"),
        ({"code": 500, "body": "html"}, 500, "text/html", "500 Internal Server Error"),
        ({"code": 503, "retry_after": "7"}, 503, "application/json", "SERVICE_UNAVAILABLE"),
        ({"code": 599, "body": "empty"}, 599, None, ""),
    ],
)
def test_error_answers_look_like_recorded_ones(
    sandbox: SandboxClient,
    klarna: httpx.Client,
    fault: dict[str, str],
    code: int,
    content_type: str | None,
    text: str,
):
    url = sandbox.create_session()["session_url"]
    sandbox.add_fault("status", times=1, **fault)
    answer = klarna.get(url)
    assert (answer.status_code, answer.headers.get("content-type")) == (code, content_type)
    assert text in answer.text
    assert answer.headers.get("retry-after") == fault.get("retry_after")
    assert klarna.get(url).status_code == 200


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("not_object", list),
        ("no_status", dict),
        ("wrong_types", dict),
        ("wrong_session_id", dict),
        ("unknown_status", dict),
        ("stale", dict),
    ],
)
def test_malformed_bodies_are_json_that_is_wrong(
    sandbox: SandboxClient, klarna: httpx.Client, kind: FaultKind, expected: type
):
    url = sandbox.create_session()["session_url"]
    good = klarna.get(url).json()
    sandbox.add_fault(kind)
    bad = klarna.get(url).json()
    assert isinstance(bad, expected)
    assert bad != good


def test_other_answers_can_be_given(sandbox: SandboxClient, klarna: httpx.Client):
    url = sandbox.create_session()["session_url"]
    answers = {}
    for kind, parameters in {
        "invalid_json": {},
        "empty_body": {},
        "redirect": {"location": "http://127.0.0.1:9/", "code": 307},
        "exact": {"body": "{}", "headers": [["x-odd", "1"], ["x-odd", "2"]]},
        "edit": {"set": {"status": "ERROR"}, "omit": ["updated_at"]},
        "set_cookie": {},
    }.items():
        sandbox.add_fault(kind, times=1, **parameters)
        answers[kind] = klarna.get(url)
    with pytest.raises(json.JSONDecodeError):
        answers["invalid_json"].json()
    assert answers["empty_body"].content == b""
    assert answers["redirect"].headers["location"] == "http://127.0.0.1:9/"
    assert answers["exact"].headers.get_list("x-odd") == ["1", "2"]
    assert answers["edit"].json()["status"] == "ERROR"
    assert "set-cookie" in answers["set_cookie"].headers


@pytest.mark.parametrize(
    ("kind", "parameters", "error"),
    [
        ("truncated", {}, httpx.RemoteProtocolError),
        ("truncated", {"declared": "short"}, json.JSONDecodeError),
        ("reset", {}, httpx.ReadError),
        ("close", {}, httpx.RemoteProtocolError),
        ("raw", {"text": "HTTP/1.1 abc\r\n\r\n"}, httpx.RemoteProtocolError),
        ("big_headers", {"size_bytes": 200_000}, httpx.RemoteProtocolError),
        ("drip", {"interval_seconds": 3600}, httpx.ReadTimeout),
        ("slow_headers", {"interval_seconds": 3600}, httpx.ReadTimeout),
        ("delay", {"delay_seconds": 3600}, httpx.ReadTimeout),
    ],
)
def test_broken_connections_break(
    sandbox: SandboxClient,
    klarna: httpx.Client,
    kind: FaultKind,
    parameters: dict[str, object],
    error: type[Exception],
):
    url = sandbox.create_session()["session_url"]
    sandbox.add_fault(kind, times=1, **parameters)
    with pytest.raises(error):
        klarna.get(url, timeout=0.3).json()
    assert klarna.get(url).json()["status"] == "WAITING"


@pytest.mark.parametrize("kind", ["drip", "slow_headers"])
def test_dripped_answer_is_whole_in_the_end(
    sandbox: SandboxClient, klarna: httpx.Client, kind: FaultKind
):
    url = sandbox.create_session()["session_url"]
    sandbox.add_fault(kind, interval_seconds=0.001, chunk_bytes=10)
    assert klarna.get(url).json()["status"] == "WAITING"


@pytest.mark.parametrize("kind", ["oversized", "gzip_bomb"])
@pytest.mark.parametrize("size", [300_001, 20_000_000])
def test_large_bodies_are_true_json_of_that_size(
    sandbox: SandboxClient, klarna: httpx.Client, kind: FaultKind, size: int
):
    url = sandbox.create_session()["session_url"]
    sandbox.add_fault(kind, size_bytes=size)
    answer = klarna.get(url)
    assert len(answer.content) == size
    assert answer.json()["status"] == "WAITING"
    assert int(answer.headers["content-length"]) == (size if kind == "oversized" else 0) or (
        int(answer.headers["content-length"]) < size / 100
    )


def test_oversized_body_may_hide_its_length(sandbox: SandboxClient, klarna: httpx.Client):
    url = sandbox.create_session()["session_url"]
    sandbox.add_fault("oversized", size_bytes=300_000, declared=False)
    answer = klarna.get(url)
    assert answer.headers["transfer-encoding"] == "chunked"
    assert len(answer.content) == 300_000


def test_reply_is_held_as_it_was_until_released(
    sandbox: SandboxClient, klarna: httpx.Client, background: ThreadPoolExecutor
):
    """Also how replies come out of order: the second read overtakes the first."""
    created = sandbox.create_session()
    sandbox.add_fault("hold", times=1)
    held: Future[httpx.Response] = background.submit(klarna.get, created["session_url"])
    [reply] = sandbox.wait_for_held(1, session_id=created["session_id"])
    sandbox.set_status(created["session_id"], "COMPLETED")
    assert klarna.get(created["session_url"]).json()["status"] == "COMPLETED"
    assert not held.done()
    assert sandbox.counters()["max_in_flight"] == 2
    assert sandbox.release(hold_id=reply["hold_id"]) == 1
    assert held.result(10).json()["status"] == "WAITING"
    assert sandbox.held() == []


def test_fresh_hold_answers_what_holds_at_release(
    sandbox: SandboxClient, klarna: httpx.Client, background: ThreadPoolExecutor
):
    created = sandbox.create_session()
    sandbox.add_fault("hold", fresh=True, session_id=created["session_id"])
    replies = [background.submit(klarna.get, created["session_url"]) for _ in range(3)]
    sandbox.wait_for_held(3)
    sandbox.set_status(created["session_id"], "FAILED")
    assert [sandbox.release(count=1), sandbox.release()] == [1, 2]
    assert {reply.result(10).json()["status"] for reply in replies} == {"FAILED"}


def test_client_that_leaves_takes_its_held_reply_out(sandbox: SandboxClient, klarna: httpx.Client):
    url = sandbox.create_session()["session_url"]
    sandbox.add_fault("hold", times=1)
    with pytest.raises(httpx.ReadTimeout):
        klarna.get(url, timeout=0.2)
    with pytest.raises(TimeoutError, match="0 of 2"):
        sandbox.wait_for_held(2, timeout_seconds=0.1)


def test_faults_keep_to_their_scope_count_and_window(sandbox: SandboxClient, klarna: httpx.Client):
    mine, other = (sandbox.create_session() for _ in range(2))
    sandbox.add_fault("status", code=500, session_id=mine["session_id"], skip=1, times=2)
    codes = [klarna.get(mine["session_url"]).status_code for _ in range(4)]
    assert codes == [200, 500, 500, 200]
    assert klarna.get(other["session_url"]).status_code == 200
    sandbox.add_fault("status", code=503, account="default", starts_in=60, seconds=60)
    window = []
    for _ in range(3):
        window.append(klarna.get(other["session_url"]).status_code)
        sandbox.advance_clock(61)
    assert window == [200, 503, 200]
    assert [fault["hits"] for fault in sandbox.faults()] == [2, 1]
    assert sandbox.clear_faults(session_id=mine["session_id"]) == 1
    assert sandbox.clear_faults() == 1


def test_faults_combine(
    sandbox: SandboxClient, klarna: httpx.Client, background: ThreadPoolExecutor
):
    """A wait, a changed answer and a torn delivery may meet one request; POST only if asked."""
    url = sandbox.create_session(
        faults=[{"kind": "hold"}, {"kind": "unknown_status"}, {"kind": "truncated"}]
    )["session_url"]
    reply = background.submit(klarna.get, url)
    sandbox.wait_for_held()
    sandbox.release()
    with pytest.raises(httpx.RemoteProtocolError):
        reply.result(10)
    sandbox.add_fault("status", code=500, methods=["POST"])
    assert klarna.post("/payments/v1/sessions", json={}).status_code == 500
    assert sandbox.requests()[0]["faults"] == ["hold", "unknown_status", "truncated"]


def test_request_log_says_what_was_sent(
    sandbox: SandboxClient, klarna: httpx.Client, background: ThreadPoolExecutor
):
    created = sandbox.create_session()
    waiting = background.submit(sandbox.wait_for_requests, 2, session_id=created["session_id"])
    for _ in range(2):
        klarna.get(created["session_url"], headers={"user-agent": "test/1", "x-note": "here"})
    first, second = waiting.result(10)
    headers = dict(first["headers"])
    assert (first["method"], first["account"]) == ("GET", "default")
    assert (headers["user-agent"], headers["x-note"]) == ("test/1", "here")
    assert headers["authorization"].startswith("Basic ")
    assert first["started_monotonic"] < second["started_monotonic"]
    assert sandbox.session(created["session_id"])["reads"] == 2
    assert sandbox.counters()["by_status"] == {"200": 2}
    sandbox.clear_requests()
    sandbox.set_log_size(0)
    klarna.get(created["session_url"])
    assert (sandbox.requests(), sandbox.counters()["requests"]) == ([], 1)
    sandbox.set_log_size(10_000)


def test_bulk_creation_is_all_or_nothing(sandbox: SandboxClient, klarna: httpx.Client):
    created = sandbox.create_sessions([{"session_id": f"bulk-{n}"} for n in range(200)])
    assert klarna.get(created[-1]["session_url"]).json()["session_id"] == "bulk-199"
    with pytest.raises(SandboxControlError, match=r"^1\.session_id: .*exists"):
        sandbox.create_sessions([{"session_id": "new"}, {"session_id": "bulk-0"}])
    assert klarna.get("/hpp/v1/sessions/new").status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/sessions", {"kind": "klarna"}, "kind"),
        ("/sessions", {"steps": [[1]]}, "steps.0"),
        ("/sessions", {"steps": [[2, "A"], [1, "B"]]}, "steps"),
        ("/sessions", {"expires_at": "2019-05-15T13:51:43"}, "expires_at"),
        ("/sessions", {"account": "nobody"}, "account"),
        ("/sessions", {"unheard": 1}, "unheard"),
        ("/sessions/unknown/status", {"status": "BACK"}, "session_id"),
        ("/faults", {"kind": "flood"}, "body"),
        ("/faults", {"kind": "status"}, "status.code"),
        ("/faults", {"kind": "delay", "delay_seconds": -1}, "delay.delay_seconds"),
        ("/faults", {"kind": "hold", "account": "nobody"}, "account"),
        ("/held/release", {"count": 0}, "count"),
        ("/clock", {}, "advance"),
    ],
)
@pytest.mark.usefixtures("sandbox")
def test_wrong_control_input_names_the_field(
    server: SandboxServer, path: str, body: object, field: str
):
    answer = httpx.post(f"{server.url}/_sandbox{path}", json=body, trust_env=False)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert answer.json()["error"].startswith(field)


def test_faults_may_need_session_and_account_both(sandbox: SandboxClient, klarna: httpx.Client):
    created = sandbox.create_session()
    sandbox.put_account("other", username="other", password="other")
    sandbox.add_fault("status", code=500, session_id=created["session_id"], account="other")
    assert klarna.get(created["session_url"]).status_code == 200
    assert klarna.get(created["session_url"], auth=("other", "other")).status_code == 500


def test_reader_may_stop_in_the_middle_of_a_gigabyte(sandbox: SandboxClient, klarna: httpx.Client):
    url = sandbox.create_session()["session_url"]
    sandbox.add_fault("oversized", size_bytes=1024**3, times=1)
    with klarna.stream("GET", url) as answer:
        assert len(next(answer.iter_bytes(1024))) == 1024
    assert klarna.get(url).json()["status"] == "WAITING"


def test_serves_https_with_a_given_certificate(tmp_path: Path):
    certfile, keyfile = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=certfile)
    auth = (DEFAULT_USERNAME, DEFAULT_PASSWORD)
    with (
        SandboxServer(certfile=certfile, keyfile=keyfile) as secure,
        httpx.Client(verify=trusting, auth=auth, trust_env=False) as klarna,
    ):
        url = secure.client.create_session()["session_url"]
        assert url.startswith("https://127.0.0.1:")
        secure.client.add_fault("truncated", times=1)
        with pytest.raises(httpx.RemoteProtocolError):
            klarna.get(url)
        assert klarna.get(url).json()["status"] == "WAITING"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(url, trust_env=False)


def self_signed(folder: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    certfile, keyfile = folder / "certificate.pem", folder / "key.pem"
    certfile.write_bytes(certificate.public_bytes(Encoding.PEM))
    keyfile.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(certfile), str(keyfile)


def test_client_offers_what_the_control_api_takes():
    kinds = [
        get_args(fault.model_fields["kind"].annotation) for fault in get_args(get_args(AnyFault)[0])
    ]
    parameters = {name for fault in get_args(get_args(AnyFault)[0]) for name in fault.model_fields}
    assert {kind for named in kinds for kind in named} == set(get_args(FaultKind))
    assert parameters - {"kind"} == set(FaultFields.__annotations__)
    assert set(SessionScript.model_fields) == set(ScriptFields.__annotations__)
    assert set(StatusChange.model_fields) - {"status"} == set(ChangeFields.__annotations__)


def test_same_seed_gives_the_same_ids():
    ids = []
    for _ in range(2):
        with SandboxServer(seed=42) as seeded:
            ids.append([seeded.client.create_session()["session_id"] for _ in range(3)])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3


def test_server_keeps_its_address_over_a_restart():
    server = SandboxServer()
    with server:
        url = server.url
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
    with server:
        assert server.url == url
        assert server.client.healthy()


def test_server_dies_with_its_parent():
    """SIGKILL of the process that started it ends a connection nothing else would end so soon."""
    code = (
        "import sys; from devkit.sandbox.server import SandboxServer; s = SandboxServer().start()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", f"{code}; print(s.url, flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /_sandbox/health HTTP/1.1\r\nhost: sandbox\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            parent.send_signal(signal.SIGKILL)
            while connection.recv(65536):
                pass


def test_command_tells_its_address_and_a_taken_port():
    command = [sys.executable, "-m", "devkit.sandbox", "--port"]
    with subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        assert httpx.get(f"{url}/_sandbox/health", trust_env=False).json() == {"status": "ok"}
        port = url.rpartition(":")[2]
        taken = subprocess.run([*command, port], capture_output=True, text=True, check=False)
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 0
    assert taken.returncode == 1
    assert taken.stderr.startswith(f"cannot listen on 127.0.0.1:{port}")
    assert len(taken.stderr.splitlines()) == 1
