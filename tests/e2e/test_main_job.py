"""The main job: a shop enqueues an id, the worker polls the session, the shop gets its event."""

from __future__ import annotations

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment


def test_a_paid_session_ends_completed_and_its_event_carries_the_token(
    deployment: Deployment, sandbox: SandboxClient
):
    deployment.start("worker")
    deployment.start("beat")
    created = sandbox.create_session(
        steps=[[0.5, "IN_PROGRESS"], [3.0, "COMPLETED"]], expires_in=600
    )

    deployment.track(created["session_id"], reference="order-1")

    assert deployment.wait_for_outcomes(created["session_id"]) == {
        created["session_id"]: "completed"
    }
    assert deployment.transitions(created["session_id"])[-1] == "COMPLETED"
    deployment.assert_invariants()
    (event,) = deployment.received()
    assert event["type"] == "payment_session.authorized"
    assert event["data"]["authorization_token"] == created["authorization_token"]
    assert event["data"]["reference"] == "order-1"
