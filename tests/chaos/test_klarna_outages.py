"""Klarna answers everybody the same wrong thing, for minutes: 503, 429, a 403 page."""

from __future__ import annotations

import pytest

from tests.support.trial import Trial
from worker.adapters import clock

pytestmark = pytest.mark.slow

LONGEST_WAIT_SECONDS = 300


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Backoff as in production: minutes go by in steps, not on the wall clock."""
    return environment | {"POLL_MAX_INTERVAL_SECONDS": "2400"}


def test_klarna_answers_503_for_ten_minutes(trial: Trial):
    trial.start("worker", "beat")
    ids = trial.put_in_flight()

    trial.klarna.add_fault("status", code=503)
    trial.klarna.release(count=25)
    trial.live_through(minutes=10)
    probes = len(trial.klarna.requests()) - len(ids)
    assert probes >= 20, "reading goes on"
    assert requests_per_session(trial, ids) < 10, "by one probe at a time"

    recover(trial)


def test_klarna_answers_a_403_page_to_everything_for_twenty_minutes(trial: Trial):
    trial.start("worker", "beat")
    ids = trial.put_in_flight()

    trial.klarna.add_fault("status", code=403, body="abuse")
    trial.klarna.release()
    trial.live_through(minutes=20)
    assert not trial.deployment.query(
        "SELECT * FROM payment_sessions WHERE outcome IS NOT NULL AND outcome <> 'completed'"
    )
    assert requests_per_session(trial, ids) < 5, "one probe at a time stands for all"

    recover(trial)


def test_klarna_limits_the_rate_far_below_what_is_due(trial: Trial):
    trial.deployment.environment["POLL_MAX_INTERVAL_SECONDS"] = "1"
    trial.start("worker", "beat")
    ids = trial.put_in_flight()

    trial.klarna.set_limiter(5)
    trial.klarna.release()
    began = clock.monotonic()
    trial.wait_for_polls(*ids, more=2, within=60)
    seconds = clock.monotonic() - began
    limited = trial.klarna.counters()["by_status"].get("429", 0)
    assert limited or seconds > 0.8 * len(ids) / 5, "the limit is met, or known by Klarna's headers"
    assert limited < 2 * len(ids), "and then kept, but for what was in flight"

    trial.klarna.set_limiter(0)
    trial.fault_over()
    trial.end()


def recover(trial: Trial) -> None:
    """Klarna is well again; whoever still waits for his backoff, comes due."""
    trial.klarna.clear_faults()
    trial.klarna.release()
    trial.let_pass(LONGEST_WAIT_SECONDS)
    trial.fault_over()
    # Who is unpaid by then is read when the policy says, some two minutes later at that age.
    trial.end(within=180)


def requests_per_session(trial: Trial, ids: list[str]) -> float:
    return len(trial.klarna.requests()) / len(ids)
