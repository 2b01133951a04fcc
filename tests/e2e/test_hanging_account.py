"""One account's endpoint hangs: the sessions of another are polled on time."""

from __future__ import annotations

from itertools import pairwise

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually

SLOW = {"username": "slow-user", "password": "slow-password"}
LIFE = [[1.0, "IN_PROGRESS"], [3.0, "COMPLETED"]]


def test_an_account_that_hangs_leaves_the_sessions_of_another_on_time(
    deployment: Deployment, sandbox: SandboxClient
):
    sandbox.put_account("slow", **SLOW)
    deployment.environment |= {
        "POLL_MAX_INTERVAL_SECONDS": "0.5",
        "HTTP_TIMEOUT_SECONDS": "20",
        "KLARNA_ACCOUNTS__SLOW__USERNAME": SLOW["username"],
        "KLARNA_ACCOUNTS__SLOW__PASSWORD": SLOW["password"],
        "KLARNA_ACCOUNTS__SLOW__BASE_URL": sandbox.url,
    }
    sandbox.add_fault("hold", account="slow")
    slow = [
        session["session_id"]
        for session in sandbox.create_sessions(
            [{"account": "slow", "steps": [[0, "COMPLETED"]]}] * 100
        )
    ]
    deployment.start_all("worker", "beat")
    # Claimed together by beat, then one by one as the shop's messages come in: up to the limit.
    deployment.insert(*slow[:60], account="slow")
    sandbox.wait_for_held(60, account="slow")
    for session_id in slow[60:]:
        deployment.track(session_id, account="slow")
    eventually(
        lambda: deployment.query("SELECT count(*) FROM payment_sessions")[0]["count"] == len(slow),
        because="every session is tracked",
    )
    # Those that came last wait for the account's share of a second.
    eventually(
        lambda: len(sandbox.held(account="slow")) > 60,
        because="what the shop's messages sent is under way as well",
    )
    held = {reply["session_id"] for reply in sandbox.held(account="slow")}

    on_time = [s["session_id"] for s in sandbox.create_sessions([{"steps": LIFE}] * 20)]
    for session_id in on_time:
        deployment.track(session_id)
    assert set(deployment.wait_for_outcomes(*on_time).values()) == {"completed"}

    for session_id in on_time:
        starts = [r["started_monotonic"] for r in sandbox.requests(session_id=session_id)]
        # Loose: due every half second, and a hanging reply would have cost twenty.
        assert max((later - earlier for earlier, later in pairwise(starts)), default=0) < 8
    assert held <= {reply["session_id"] for reply in sandbox.held(account="slow")}

    sandbox.clear_faults()
    sandbox.release()
    assert set(deployment.wait_for_outcomes(*slow).values()) == {"completed"}
    deployment.assert_invariants()
