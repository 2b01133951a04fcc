"""Two beats and two workers at once: nothing is lost, done twice, or asked twice at a time."""

from __future__ import annotations

from itertools import pairwise

from tests.support.deployment import Deployment
from worker.sandbox.server import SandboxClient

LIFE = [[1.0, "IN_PROGRESS"], [2.5, "FAILED"], [4.0, "COMPLETED"]]


def test_two_beats_and_two_workers_poll_every_session_and_never_one_twice_at_a_time(
    deployment: Deployment, sandbox: SandboxClient
):
    deployment.environment["POLL_MAX_INTERVAL_SECONDS"] = "0.4"
    first, second, *_ = deployment.start_all("worker", "worker", "beat", "beat")
    # Long enough for a second request to run into the first, were there one.
    sandbox.add_fault("delay", delay_seconds=0.1)
    ids = [s["session_id"] for s in sandbox.create_sessions([{"steps": LIFE}] * 40)]
    deployment.insert(*ids[:10])
    for _ in range(3):
        for session_id in ids:
            deployment.track(session_id)

    assert set(deployment.wait_for_outcomes(*ids).values()) == {"completed"}

    deployment.assert_invariants()
    for session_id in ids:
        statuses = deployment.transitions(session_id)
        assert statuses == sorted(set(statuses), key=statuses.index), "no status was seen twice"
        requests = sandbox.requests(session_id=session_id)
        assert len(requests) >= 3
        for earlier, later in pairwise(requests):
            assert earlier["finished_monotonic"] <= later["started_monotonic"]
        assert len(deployment.received_of(session_id)) == 1
    for worker in (first, second):
        assert "payment_session_polled" in worker.log()
