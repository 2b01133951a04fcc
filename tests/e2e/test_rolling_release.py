"""Two releases of a deployment beside each other: the newer one knows another account."""

from __future__ import annotations

import json

from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME, SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually


def nordic(deployment: Deployment) -> dict[str, str]:
    """The next release's account."""
    return {
        "KLARNA_ACCOUNTS__NORDIC__USERNAME": DEFAULT_USERNAME,
        "KLARNA_ACCOUNTS__NORDIC__PASSWORD": DEFAULT_PASSWORD,
        "KLARNA_ACCOUNTS__NORDIC__BASE_URL": deployment.environment["KLARNA_BASE_URL"],
    }


def test_a_track_of_an_account_that_comes_with_the_next_release_is_taken_then(
    deployment: Deployment, sandbox: SandboxClient
):
    """A worker of the release before keeps it; the next one's takes it, by itself."""
    session_id = sandbox.create_session()["session_id"]
    old, _ = deployment.start_all("worker", "beat")
    task_id = deployment.track(session_id, account="nordic")
    waits = deployment.refused(task_id)
    assert (waits["field"], waits["attempts"]) == ("account", 0)
    assert waits["next_try_at"] is not None
    old.stop()
    deployment.start("worker", **nordic(deployment))

    eventually(
        lambda: (row := deployment.session(session_id)) and row["account"] == "nordic",
        because="the next release's worker tracks it",
    )
    eventually(
        lambda: deployment.refused(task_id)["resolution"] == "taken", because="it is resolved"
    )
    resolved = deployment.refused(task_id)
    assert (resolved["arguments"], resolved["attempts"]) == (None, 0)
    assert json.dumps(session_id) not in str(resolved["argument_hashes"])


def test_sessions_of_the_new_account_are_read_while_both_releases_work(
    deployment: Deployment, sandbox: SandboxClient
):
    """The older worker gets their polls, too; it pauses nothing and loses no track."""
    old = deployment.start("worker", wait=False)
    new = deployment.start("worker", wait=False, **nordic(deployment))
    deployment.start("beat", **nordic(deployment))
    for process in (old, new):
        process.wait_until_ready()
    session_ids = [each["session_id"] for each in sandbox.create_sessions([{}] * 20)]
    for session_id in session_ids:
        deployment.track(session_id, account="nordic")
    eventually(
        lambda: "account_not_configured" in old.log(), because="the older worker gets a poll"
    )
    eventually(
        lambda: deployment.query("SELECT * FROM payment_sessions WHERE poll_count >= 2"),
        because="the newer worker reads beside it",
    )
    old.stop()

    eventually(
        lambda: all(
            (row := deployment.session(session_id)) and row["poll_count"]
            for session_id in session_ids
        ),
        within=60,
        because="all are tracked and read",
    )
    (account,) = deployment.query("SELECT * FROM accounts WHERE account = 'nordic'") or [{}]
    assert not any(account.get(each) for each in ("paused_until", "refusals", "failures"))
    assert "account_paused" not in deployment.logs()
    assert old.log().count("account_not_configured") <= 2
    assert not deployment.query(
        "SELECT * FROM payment_sessions WHERE consecutive_failures > 0 OR last_error IS NOT NULL"
    )
    deployment.assert_invariants()
