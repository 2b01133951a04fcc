"""Two beats and two workers at once: nothing is lost, done twice, or requested concurrently."""

from __future__ import annotations

from itertools import pairwise

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually

STATUSES = ["WAITING", "IN_PROGRESS", "COMPLETED"]


def test_two_beats_and_two_workers_poll_every_session_and_never_one_twice_at_a_time(
    deployment: Deployment, sandbox: SandboxClient
):
    deployment.environment["POLL_MAX_INTERVAL_SECONDS"] = "0.4"
    first, second, *_ = deployment.start_all("worker", "worker", "beat", "beat")
    # Long enough for a second request to run into the first, were there one.
    sandbox.add_fault("delay", delay_seconds=0.1)
    ids = [session["session_id"] for session in sandbox.create_sessions([{}] * 40)]
    deployment.insert(*ids[:20])

    for count, status in enumerate(STATUSES, start=1):
        for session_id in ids:
            if status != "WAITING":
                sandbox.set_status(session_id, status)
            # The schedule is not alone: the shop nudges as well.
            deployment.track(session_id)
        eventually(
            lambda count=count: all(deployment.transitions(i) == STATUSES[:count] for i in ids),
            within=30,
            because=f"{status} is seen everywhere",
        )

    assert set(deployment.wait_for_outcomes(*ids).values()) == {"completed"}
    deployment.assert_invariants()
    for session_id in ids:
        assert deployment.transitions(session_id) == STATUSES
        assert len(deployment.received_of(session_id)) == 1
        for earlier, later in pairwise(sandbox.requests(session_id=session_id)):
            assert earlier["finished_monotonic"] <= later["started_monotonic"]
    for worker in (first, second):
        assert "payment_session_polled" in worker.log()
