"""A deploy during polls: processes end in time, and other processes continue their sessions."""

from __future__ import annotations

import signal

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.in_flight import paid_sessions

HTTP_TIMEOUT_SECONDS = 3
# Far longer than the tests wait: nothing here is healed by a lease that runs out.
LEASE_SECONDS = 60
# One task each: more than a worker has threads, so that some are received and not begun.
IN_FLIGHT = 100
THREADS = 64


@pytest.fixture
def in_flight(deployment: Deployment, sandbox: SandboxClient) -> list[str]:
    """Paid sessions, to be put in flight by `hold`."""
    deployment.environment |= {
        "POLL_MAX_INTERVAL_SECONDS": "1",
        "HTTP_TIMEOUT_SECONDS": str(HTTP_TIMEOUT_SECONDS),
        "POLL_LEASE_SECONDS": str(LEASE_SECONDS),
        "POLL_TASKS_PER_TICK": str(IN_FLIGHT),
    }
    return paid_sessions(sandbox, IN_FLIGHT)


def hold(deployment: Deployment, sandbox: SandboxClient, session_ids: list[str]) -> None:
    """Let every thread of the worker wait for a response that is never sent."""
    sandbox.add_fault("hold")
    deployment.insert(*session_ids)
    sandbox.wait_for_held(THREADS, timeout_seconds=30)
    sandbox.clear_faults()


def test_a_worker_that_is_stopped_ends_in_time_and_another_goes_on_at_once(
    deployment: Deployment, sandbox: SandboxClient, in_flight: list[str]
):
    first, beat = deployment.start_all("worker", "beat")
    hold(deployment, sandbox, in_flight)
    second = deployment.start("worker", wait=False)

    assert first.stop(within=HTTP_TIMEOUT_SECONDS + 7) == 0

    second.wait_until_ready()
    assert set(deployment.wait_for_outcomes(*in_flight).values()) == {"completed"}
    assert beat.stop(within=5) == 0
    deployment.assert_invariants()


def test_a_worker_interrupted_twice_hands_back_and_closes_as_well(
    deployment: Deployment, sandbox: SandboxClient, in_flight: list[str]
):
    worker, _ = deployment.start_all("worker", "beat")
    hold(deployment, sandbox, in_flight)

    worker.signal(signal.SIGINT)
    eventually(lambda: "Hitting Ctrl+C again" in worker.log(), because="the first one is heard")
    worker.signal(signal.SIGINT)
    assert worker.wait_for_end(within=HTTP_TIMEOUT_SECONDS + 7) == 1

    deployment.start("worker")
    assert set(deployment.wait_for_outcomes(*in_flight).values()) == {"completed"}
    deployment.assert_invariants()
