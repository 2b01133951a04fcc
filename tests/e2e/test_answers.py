"""Faulty responses of Klarna while sessions are polled: every session still ends paid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from devkit.sandbox.server import (
    DEFAULT_PASSWORD,
    DEFAULT_USERNAME,
    SandboxClient,
    SandboxServer,
)
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually

# By name: the first two reads of a paid session meet this.
FAULTS: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "code": 500},
    "503 as a page": {"kind": "status", "code": 503, "body": "html"},
    "404 before the end": {"kind": "status", "code": 404},
    "an undocumented 418": {"kind": "status", "code": 418, "body": "empty"},
    "no answer in time": {"kind": "hold"},
    "one byte a second": {"kind": "drip"},
    "a head that never ends": {"kind": "slow_headers"},
    "half a body": {"kind": "truncated"},
    "half a body, whole by its length": {"kind": "truncated", "declared": "short"},
    "a reset": {"kind": "reset"},
    "a close": {"kind": "close"},
    "no HTTP at all": {"kind": "raw", "text": "SSH-2.0-OpenSSH\r\n"},
    "another session": {"kind": "wrong_session_id"},
    "a redirect": {"kind": "redirect", "location": "/hpp/v1/sessions/elsewhere"},
    "no JSON": {"kind": "invalid_json"},
    "no object": {"kind": "not_object"},
    "no status": {"kind": "no_status"},
    "wrong types": {"kind": "wrong_types"},
    "nothing": {"kind": "empty_body"},
    "too much": {"kind": "oversized"},
    "a bomb": {"kind": "gzip_bomb"},
}
OTHERS = {name: f"{name}-user" for name in ("refused", "forbidden", "throttled")}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[SandboxServer]:
    """A mock Klarna server of one account, down until a test starts it; its address stays."""
    server = SandboxServer().start()
    server.stop()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def deployed(
    shared_environment: dict[str, str],
    klarna: SandboxClient,
    elsewhere: SandboxServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    environment = shared_environment | {
        "KLARNA_ACCOUNTS__ELSEWHERE__USERNAME": DEFAULT_USERNAME,
        "KLARNA_ACCOUNTS__ELSEWHERE__PASSWORD": DEFAULT_PASSWORD,
        "KLARNA_ACCOUNTS__ELSEWHERE__BASE_URL": elsewhere.url,
        "KLARNA_ALLOWED_ORIGINS": f"{klarna.url},{elsewhere.url}",
        "POLL_MAX_INTERVAL_SECONDS": "0.5",
        "HTTP_TIMEOUT_SECONDS": "2",
        "POLL_LEASE_SECONDS": "7",
    }
    for account, username in OTHERS.items():
        klarna.put_account(account, username=username, password="password")
        prefix = f"KLARNA_ACCOUNTS__{account.upper()}__"
        environment |= {
            f"{prefix}USERNAME": username,
            f"{prefix}PASSWORD": "password",
            f"{prefix}BASE_URL": klarna.url,
        }
    with deploy(environment, tmp_path_factory.mktemp("deployment")) as deployed:
        deployed.start_all("worker", "beat")
        yield deployed


@pytest.fixture
def deployment(deployed: Deployment) -> Iterator[Deployment]:
    """The shared deployment; after each test all invariants must hold."""
    yield deployed
    deployed.assert_invariants()


def paid(klarna: SandboxClient, account: str = "default", **fault: Any) -> str:  # noqa: ANN401
    """Return a paid session whose first reads have `fault`."""
    created = klarna.create_session(
        steps=[[0, "COMPLETED"]], account=account, faults=[fault] if fault else []
    )
    return created["session_id"]


def test_every_fault_is_survived_and_the_paid_session_is_completed(
    deployment: Deployment, klarna: SandboxClient
):
    sessions = {name: paid(klarna, **(fault | {"times": 2})) for name, fault in FAULTS.items()}

    for session_id in sessions.values():
        deployment.track(session_id)

    outcomes = deployment.wait_for_outcomes(*sessions.values())
    assert {name: outcomes[s] for name, s in sessions.items()} == dict.fromkeys(FAULTS, "completed")
    met = {fault["session_id"]: fault["hits"] for fault in klarna.faults()}
    assert {name: met[s] for name, s in sessions.items()} == dict.fromkeys(FAULTS, 2)
    events = {name: [e["type"] for e in deployment.received_of(s)] for name, s in sessions.items()}
    assert events == {name: ["payment_session.authorized"] for name in FAULTS}
    assert not klarna.requests(session_id="elsewhere")


def test_a_wrong_field_that_nobody_needs_hides_no_payment(
    deployment: Deployment, klarna: SandboxClient
):
    wrong = {"customer": [], "updated_at": "", "klarna_reference": "x" * 300, "expires_at": 7}
    session_id = paid(klarna, kind="edit", set=wrong)

    deployment.track(session_id)

    assert deployment.wait_for_outcomes(session_id) == {session_id: "completed"}
    (event,) = deployment.received_of(session_id)
    assert event["type"] == "payment_session.authorized"
    assert len(klarna.requests(session_id=session_id)) == 1


@pytest.mark.parametrize(
    ("script", "event"),
    [
        pytest.param({}, "payment_session.authorized", id="token"),
        pytest.param({"carries": "order"}, "payment_session.order_placed", id="order"),
    ],
)
def test_proof_of_payment_under_an_unknown_status_settles(
    deployment: Deployment, klarna: SandboxClient, script: dict[str, Any], event: str
):
    fault = {"kind": "unknown_status", "status": "SETTLED"}
    session_id = klarna.create_session(steps=[[0, "COMPLETED"]], faults=[fault], **script)[
        "session_id"
    ]

    deployment.track(session_id)

    assert deployment.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert [e["type"] for e in deployment.received_of(session_id)] == [event]
    assert deployment.transitions(session_id) == ["SETTLED"]


def test_a_session_that_shows_a_token_while_open_ends_completed_and_not_expired(
    deployment: Deployment, klarna: SandboxClient
):
    fault = {"kind": "edit", "set": {"authorization_token": "canary-kept"}, "times": 1}
    session_id = klarna.create_session(steps=[[0, "IN_PROGRESS"]], faults=[fault])["session_id"]
    deployment.track(session_id)
    eventually(
        lambda: (deployment.session(session_id) or {}).get("poll_count", 0) > 1,
        because="it is read again, without the token",
    )

    klarna.add_fault("edit", session_id=session_id, set={"expires_at": "2026-01-01T00:00:00Z"})

    assert deployment.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert [e["type"] for e in deployment.received_of(session_id)] == ["payment_session.completed"]


def test_completed_that_comes_before_its_token_is_read_until_the_token_is_there(
    deployment: Deployment, klarna: SandboxClient
):
    session_id = klarna.create_session(steps=[[0, "COMPLETED"]], carries="neither")["session_id"]
    deployment.track(session_id)
    eventually(
        lambda: (deployment.session(session_id) or {}).get("poll_count", 0) > 1,
        because="it is read again",
    )

    klarna.set_status(session_id, "COMPLETED", carries="token")

    assert deployment.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert [e["type"] for e in deployment.received_of(session_id)] == ["payment_session.authorized"]
    assert deployment.transitions(session_id) == ["COMPLETED"]


def test_a_session_whose_host_refuses_connections_is_read_when_it_is_back(
    deployment: Deployment, elsewhere: SandboxServer
):
    deployment.track("of-elsewhere", account="elsewhere")
    eventually(
        lambda: (
            "connection_failed" in str((deployment.session("of-elsewhere") or {}).get("last_error"))
        ),
        because="the connection is refused",
    )

    elsewhere.start().client.create_session(session_id="of-elsewhere", steps=[[0, "COMPLETED"]])

    assert deployment.wait_for_outcomes("of-elsewhere") == {"of-elsewhere": "completed"}


def test_an_answer_older_than_the_recorded_one_changes_nothing(
    deployment: Deployment, klarna: SandboxClient
):
    session_id = klarna.create_session(steps=[[0, "IN_PROGRESS"]])["session_id"]
    deployment.track(session_id)
    eventually(lambda: deployment.transitions(session_id) == ["IN_PROGRESS"], because="it is read")

    fault = klarna.add_fault("stale", session_id=session_id, status="WAITING")
    eventually(
        lambda: next(f["hits"] for f in klarna.faults() if f["fault_id"] == fault) >= 2,
        because="old answers come",
    )
    klarna.clear_faults(fault_id=fault)
    klarna.set_status(session_id, "COMPLETED")

    assert deployment.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert deployment.transitions(session_id) == ["IN_PROGRESS", "COMPLETED"]


def test_a_refused_account_pauses_and_another_goes_on_unharmed(
    deployment: Deployment, klarna: SandboxClient
):
    refusals = {"refused": 401, "forbidden": 403}
    for account, code in refusals.items():
        klarna.add_fault("status", account=account, code=code)
    refused = {paid(klarna, account): account for account in refusals for _ in range(5)}
    for session_id, account in refused.items():
        deployment.track(session_id, account=account)
    # Requests that were under way when the account was refused come in; then it is quiet.
    pauses = eventually(lambda: _quiet_pauses(deployment), because="both accounts are paused")

    meanwhile = [paid(klarna) for _ in range(5)]
    for session_id in meanwhile:
        deployment.track(session_id)
    outcomes = deployment.wait_for_outcomes(*meanwhile)
    assert set(outcomes.values()) == {"completed"}
    still = deployment.query(
        "SELECT DISTINCT outcome FROM payment_sessions WHERE account = ANY(%s)", [*refusals]
    )
    assert still == [{"outcome": None}]

    klarna.clear_faults(account="refused")
    klarna.clear_faults(account="forbidden")
    outcomes = deployment.wait_for_outcomes(*refused)
    assert set(outcomes.values()) == {"completed"}
    for account, (quiet, until) in pauses.items():
        asked = [r["wall_seconds"] for r in klarna.requests(account=account)]
        assert not [at for at in asked if quiet < at < until]
        assert [at for at in asked if at >= until]


def _quiet_pauses(deployment: Deployment) -> dict[str, tuple[float, float]]:
    """Return for each account since when it is quiet and until when it is paused."""
    rows = deployment.query(
        "SELECT account, extract(epoch FROM clock_timestamp())::float AS quiet,"
        " extract(epoch FROM paused_until)::float AS until FROM accounts"
        " JOIN payment_sessions USING (account) WHERE paused_until > clock_timestamp()"
        " GROUP BY account HAVING count(*) = 5 AND count(lease_id) = 0"
    )
    return {row["account"]: (row["quiet"], row["until"]) for row in rows} if len(rows) == 2 else {}


def test_an_empty_429_slows_its_account_and_counts_against_no_session(
    deployment: Deployment, klarna: SandboxClient
):
    klarna.add_fault("status", account="throttled", code=429, times=3)
    sessions = [paid(klarna, "throttled") for _ in range(5)]
    for session_id in sessions:
        deployment.track(session_id, account="throttled")

    assert set(deployment.wait_for_outcomes(*sessions).values()) == {"completed"}
    failures = deployment.query(
        "SELECT DISTINCT consecutive_failures FROM payment_sessions WHERE account = 'throttled'"
    )
    assert failures == [{"consecutive_failures": 0}]
