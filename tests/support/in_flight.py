"""Many payment sessions in mid-poll: claimed, requested, and their replies held at Klarna."""

from __future__ import annotations

from datetime import datetime

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment

COUNT = 60
# The promise is 5 on a machine of its own; tests share theirs with each other. It still is far
# below what else would bring polls back: the default lease, the broker's visibility timeout.


def paid_sessions(sandbox: SandboxClient, count: int = COUNT) -> list[str]:
    """Payment sessions that are paid but for the worker's having seen it."""
    created = sandbox.create_sessions([{"steps": [[0, "COMPLETED"]]}] * count)
    return [session["session_id"] for session in created]


def hold_in_flight(deployment: Deployment, sandbox: SandboxClient, count: int = COUNT) -> list[str]:
    """Bring paid sessions in flight all at once, by a running beat; returns when all are held."""
    sandbox.add_fault("hold")
    ids = paid_sessions(sandbox, count)
    deployment.insert(*ids)
    sandbox.wait_for_held(count, timeout_seconds=30)
    return ids


def let_go(sandbox: SandboxClient) -> None:
    """Hold no further reply and release those that are held."""
    sandbox.clear_faults()
    sandbox.release()


def database_now(deployment: Deployment) -> datetime:
    """The time by the clock that decides."""
    return deployment.query("SELECT clock_timestamp() AS now")[0]["now"]


def recovery_seconds(deployment: Deployment, since: datetime) -> float:
    """How long after `since` the last payment session was polled."""
    (row,) = deployment.query(
        "SELECT extract(epoch FROM max(last_polled_at) - %s)::float AS seconds"
        " FROM payment_sessions",
        since,
    )
    return row["seconds"]
