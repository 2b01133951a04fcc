"""A worker's clock is wrong: the database's clock decides leases and due times.

The wrong clock is `tests/support/shims`: Python's `time` of that process is shifted. That reaches
Celery and kombu, which go by it; this project's own code reads no wall clock at all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.trial import Trial

SHIMS = Path(__file__).parents[1] / "support" / "shims"


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [10, -10], ids=["ahead", "behind"])
def test_a_workers_and_a_beats_clock_are_ten_minutes_off(trial: Trial, minutes: int):
    clock = {"PYTHONPATH": str(SHIMS), "SHIM_CLOCK_AHEAD": str(minutes * 60)}
    wrong, _ = trial.start("worker", "beat", **clock)
    right, _ = trial.start("worker", "beat")
    trial.put_in_flight()
    assert trial.deployment.query(_LEASED) == [{"sane": True}]

    trial.klarna.release()
    for session_id in trial.create():
        trial.deployment.track(session_id)
    trial.fault_over()
    trial.end()

    assert all("payment_session_polled" in worker.log() for worker in (wrong, right))


_LEASED = """
    SELECT bool_and(lease_expires_at BETWEEN now() AND now() + interval '11 s') AS sane
    FROM payment_sessions WHERE lease_id IS NOT NULL
"""
