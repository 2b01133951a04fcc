"""A worker's clock is wrong: the database's clock decides leases and due times.

The wrong clock is `tests/support/shims`: Python's `time` of that process is shifted. That reaches
Celery and kombu, which go by it; this project's own code reads no wall clock at all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.experiment import Experiment

SHIMS = Path(__file__).parents[1] / "support" / "shims"


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [10, -10], ids=["ahead", "behind"])
def test_a_workers_and_a_beats_clock_are_ten_minutes_off(experiment: Experiment, minutes: int):
    clock = {"PYTHONPATH": str(SHIMS), "SHIM_CLOCK_AHEAD": str(minutes * 60)}
    wrong, _ = experiment.start("worker", "beat", **clock)
    right, _ = experiment.start("worker", "beat")
    experiment.put_in_flight()
    assert experiment.deployment.query(_LEASED) == [{"sane": True}]

    experiment.klarna.release()
    for session_id in experiment.create():
        experiment.deployment.track(session_id)
    experiment.fault_over()
    experiment.end()

    assert all("payment_session_polled" in worker.log() for worker in (wrong, right))


_LEASED = """
    SELECT bool_and(lease_expires_at BETWEEN now() AND now() + interval '11 s') AS sane
    FROM payment_sessions WHERE lease_id IS NOT NULL
"""
