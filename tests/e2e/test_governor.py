"""Two workers and two beats under one account's quota, and while its reads fail.

Counted by the mock Klarna server, which enforces its limit.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from worker.adapters.policy_file import write_policy
from worker.domain.policy import PollPolicy

BUSY = {"username": "busy-user", "password": "busy-password"}
# Every session is due every 2 s, at whatever number of requests.
EAGER = PollPolicy(
    name="eager", ages=(0.0,), hazards={"*": (1e6,)}, calibration=((1.0, 1.0), (2.0, 100.0))
)
LIMIT = 40
BUDGET = LIMIT * 0.75


@pytest.fixture
def governed(deployment: Deployment, sandbox: SandboxClient, tmp_path: Path) -> Deployment:
    """Accounts `default`, without a limit, and `busy`, with one."""
    policy_file = tmp_path / "eager.jsonl"
    write_policy(policy_file, EAGER)
    sandbox.set_limiter(0)
    sandbox.put_account("busy", **BUSY, requests_per_second=LIMIT)
    deployment.environment |= {
        "POLL_POLICY_FILE": str(policy_file),
        # Leaves the multiplier something to lengthen.
        "POLL_MAX_INTERVAL_SECONDS": "60",
        "KLARNA_ACCOUNTS__BUSY__USERNAME": BUSY["username"],
        "KLARNA_ACCOUNTS__BUSY__PASSWORD": BUSY["password"],
        "KLARNA_ACCOUNTS__BUSY__BASE_URL": sandbox.url,
        "KLARNA_ACCOUNTS__BUSY__READ_LIMIT": str(LIMIT),
    }
    deployment.start_all("worker", "worker", "beat", "beat")
    return deployment


def track_sessions(
    deployment: Deployment, sandbox: SandboxClient, count: int, account: str
) -> list[str]:
    created = sandbox.create_sessions([{"account": account}] * count)
    ids = [session["session_id"] for session in created]
    deployment.insert(*ids, account=account)
    return ids


def requests(sandbox: SandboxClient, at_least: int, account: str) -> list[dict[str, Any]]:
    """The next so many requests from now on."""
    sandbox.clear_requests()
    return sandbox.wait_for_requests(at_least, account=account, timeout_seconds=90)[:at_least]


def assert_on_time(sandbox: SandboxClient, session_ids: list[str]) -> None:
    """Due every 2 s: a delay by the other account would be minutes."""
    for session_id in session_ids:
        starts = [r["started_monotonic"] for r in sandbox.requests(session_id=session_id)]
        assert len(starts) > 2
        assert max(later - earlier for earlier, later in pairwise(starts)) < 4


def test_twice_the_quota_is_offered_and_the_budget_is_used_without_a_429(
    governed: Deployment, sandbox: SandboxClient
):
    """Both beats use the shared budget within the limit; the other account is on time.

    The intervals of the sessions that wait are lengthened instead.
    """
    on_time = track_sessions(governed, sandbox, 5, "default")
    track_sessions(governed, sandbox, 2 * 2 * LIMIT, "busy")
    eventually(
        lambda: governed.query(
            "SELECT stretch FROM accounts WHERE account = 'busy' AND stretch > 1.5"
        ),
        within=60,
        because="the overload lasts",
    )

    allowed = BUDGET * share(governed)
    seen = requests(sandbox, int(10 * BUDGET), "busy")

    seconds = seen[-1]["started_monotonic"] - seen[0]["started_monotonic"]
    assert 0.95 * allowed <= len(seen) / seconds <= LIMIT
    assert {r["status"] for r in seen} <= {200, None}
    assert_on_time(sandbox, on_time)


def test_an_account_whose_reads_fail_is_probed_and_then_asked_more_and_more(
    governed: Deployment, sandbox: SandboxClient
):
    """Probes instead of all sessions, one log event; at the end all are polled within seconds."""
    on_time = track_sessions(governed, sandbox, 5, "default")
    failing = track_sessions(governed, sandbox, 80, "busy")
    polled = "SELECT session_id FROM payment_sessions WHERE account = 'busy' AND {} > 0"
    eventually(lambda: len(governed.query(polled.format("poll_count"))) == 80, within=30)

    sandbox.add_fault("status", code=503, account="busy")
    eventually(lambda: "breaker_opened" in governed.logs(), within=30)
    eventually(lambda: not in_flight(governed), because="only probes are left")
    probes = requests(sandbox, 4, "busy")
    assert all(probe["in_flight"] <= 1 + len(on_time) for probe in probes)
    starts = [probe["started_monotonic"] for probe in probes]
    assert min(later - earlier for earlier, later in pairwise(starts)) > 0.9
    assert_on_time(sandbox, on_time)

    (over,) = governed.query("SELECT clock_timestamp() AS at")
    sandbox.clear_faults()
    eventually(lambda: "breaker_closed" in governed.logs(), within=15)
    eventually(
        lambda: not unread(governed, over["at"]), within=35, because="every session is read again"
    )
    assert governed.logs().count("breaker_opened") == governed.logs().count("breaker_closed") == 1
    assert set(failing).isdisjoint(on_time)


def share(deployment: Deployment) -> float:
    """Return the budget that is left if the workers' start used the first second of the limit."""
    (row,) = deployment.query(
        "SELECT LEAST(1, quota_share + COALESCE("
        "EXTRACT(epoch FROM now() - quota_cut_at) / 300, 1))::float AS share"
        " FROM accounts WHERE account = 'busy'"
    )
    return row["share"]


def unread(deployment: Deployment, since: datetime) -> list[dict[str, Any]]:
    return deployment.query(
        "SELECT session_id FROM payment_sessions WHERE account = 'busy' AND last_read_at < %s",
        since,
    )


def in_flight(deployment: Deployment) -> int:
    (row,) = deployment.query(
        "SELECT count(*) AS leased FROM payment_sessions"
        " WHERE account = 'busy' AND lease_expires_at > now()"
    )
    return row["leased"]
