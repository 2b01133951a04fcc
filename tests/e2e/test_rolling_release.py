"""Two releases of a deployment beside each other: the newer one knows another account."""

from __future__ import annotations

import json
from typing import Any

from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME, SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually


def refused(deployment: Deployment, task_id: str) -> dict[str, Any]:
    """The row of a message; waits for it."""
    return eventually(
        lambda: deployment.query("SELECT * FROM refused_messages WHERE task_id = %s", task_id),
        because="the message is kept",
    )[0]


def test_a_track_of_an_account_that_comes_with_the_next_release_is_taken_then(
    deployment: Deployment, sandbox: SandboxClient
):
    """A worker of the release before keeps it; the next one's takes it, by itself."""
    nordic = {
        "KLARNA_ACCOUNTS__NORDIC__USERNAME": DEFAULT_USERNAME,
        "KLARNA_ACCOUNTS__NORDIC__PASSWORD": DEFAULT_PASSWORD,
        "KLARNA_ACCOUNTS__NORDIC__BASE_URL": deployment.environment["KLARNA_BASE_URL"],
    }
    session_id = sandbox.create_session()["session_id"]
    old, _ = deployment.start_all("worker", "beat")
    task_id = deployment.track(session_id, account="nordic")
    waits = refused(deployment, task_id)
    assert (waits["field"], waits["attempts"]) == ("account", 0)
    assert waits["next_try_at"] is not None
    old.stop()
    deployment.start("worker", **nordic)

    eventually(
        lambda: (row := deployment.session(session_id)) and row["account"] == "nordic",
        because="the next release's worker tracks it",
    )
    eventually(
        lambda: refused(deployment, task_id)["resolution"] == "taken", because="it is resolved"
    )
    resolved = refused(deployment, task_id)
    assert (resolved["arguments"], resolved["attempts"]) == (None, 0)
    assert json.dumps(session_id) not in str(resolved["argument_hashes"])
