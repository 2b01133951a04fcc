"""Klarna returns the same error for every session, for minutes: 503, 429, a 403 page."""

from __future__ import annotations

import pytest

from tests.support.experiment import Experiment
from worker.adapters import clock

pytestmark = pytest.mark.slow

LONGEST_WAIT_SECONDS = 300


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Backoff as in production: minutes go by in steps, not on the wall clock."""
    return environment | {"POLL_MAX_INTERVAL_SECONDS": "2400"}


def test_klarna_answers_503_for_ten_minutes(experiment: Experiment):
    experiment.start("worker", "beat")
    ids = experiment.put_in_flight()

    experiment.klarna.add_fault("status", code=503)
    experiment.klarna.release(count=25)
    experiment.live_through(minutes=10)
    probes = len(experiment.klarna.requests()) - len(ids)
    assert probes >= 20, "reading goes on"
    assert requests_per_session(experiment, ids) < 10, "by one probe at a time"

    recover(experiment)


def test_klarna_answers_a_403_page_to_everything_for_twenty_minutes(experiment: Experiment):
    experiment.start("worker", "beat")
    ids = experiment.put_in_flight()

    experiment.klarna.add_fault("status", code=403, body="abuse")
    experiment.klarna.release()
    experiment.live_through(minutes=20)
    assert not experiment.deployment.query(
        "SELECT * FROM payment_sessions WHERE outcome IS NOT NULL AND outcome <> 'completed'"
    )
    assert requests_per_session(experiment, ids) < 5, "one probe at a time stands for all"

    recover(experiment)


def test_klarna_limits_the_rate_far_below_what_is_due(experiment: Experiment):
    experiment.deployment.environment["POLL_MAX_INTERVAL_SECONDS"] = "1"
    experiment.start("worker", "beat")
    ids = experiment.put_in_flight()

    experiment.klarna.set_limiter(5)
    experiment.klarna.release()
    began = clock.monotonic()
    experiment.wait_for_polls(*ids, more=2, within=60)
    seconds = clock.monotonic() - began
    limited = experiment.klarna.counters()["by_status"].get("429", 0)
    assert limited or seconds > 0.8 * len(ids) / 5, "the limit is met, or known by Klarna's headers"
    assert limited < 2 * len(ids), "and then kept, but for what was in flight"

    experiment.klarna.set_limiter(0)
    experiment.fault_over()
    experiment.end()


def recover(experiment: Experiment) -> None:
    """End the outage; sessions that wait for their backoff become due."""
    experiment.klarna.clear_faults()
    experiment.klarna.release()
    experiment.let_pass(LONGEST_WAIT_SECONDS)
    experiment.fault_over()
    # Who is unpaid by then is read when the policy says, some two minutes later at that age.
    experiment.end(within=180)


def requests_per_session(experiment: Experiment, ids: list[str]) -> float:
    return len(experiment.klarna.requests()) / len(ids)
