"""Klarna responds late, byte by byte, or after the worker was suspended beyond its leases."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.experiment import Experiment

SLOW = {"username": "slow-user", "password": "slow-password"}


@pytest.mark.slow
def test_one_account_hangs_and_the_sessions_of_another_stay_on_time(experiment: Experiment):
    experiment.klarna.put_account("slow", **SLOW, requests_per_second=0)
    experiment.deployment.environment |= {
        "KLARNA_ACCOUNTS__SLOW__USERNAME": SLOW["username"],
        "KLARNA_ACCOUNTS__SLOW__PASSWORD": SLOW["password"],
        "KLARNA_ACCOUNTS__SLOW__BASE_URL": experiment.klarna.url,
    }
    experiment.start("worker", "beat")
    experiment.klarna.add_fault("hold", account="slow")
    hanging = experiment.create(account="slow")
    experiment.count_in_flight(len(hanging))
    experiment.deployment.insert(*hanging, account="slow")
    experiment.klarna.wait_for_held(len(hanging), account="slow")

    on_time = experiment.track()
    experiment.wait_for_polls(*on_time, more=4)
    for session_id in on_time:
        starts = [r["started_monotonic"] for r in experiment.klarna.requests(session_id=session_id)]
        assert max(later - earlier for earlier, later in pairwise(starts)) < 3

    experiment.klarna.clear_faults()
    experiment.klarna.release()
    experiment.fault_over()
    experiment.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    "drip",
    [
        pytest.param({"kind": "slow_headers", "interval_seconds": 0.5}, id="headers"),
        pytest.param({"kind": "drip", "interval_seconds": 0.5}, id="body"),
    ],
)
def test_every_answer_comes_in_drops(experiment: Experiment, drip: Mapping[str, Any]):
    experiment.start("worker", "beat")
    experiment.put_in_flight()

    experiment.klarna.add_fault(**drip)
    experiment.klarna.release()
    eventually(
        lambda: len(experiment.deployment.query(_GIVEN_UP)) >= 25,
        because="the deadline ends each read",
    )

    experiment.klarna.clear_faults()
    experiment.fault_over()
    experiment.end()


_GIVEN_UP = "SELECT session_id FROM payment_sessions WHERE last_error ~ 'no whole answer'"


@pytest.mark.slow
def test_replies_reach_a_worker_that_slept_past_its_leases(experiment: Experiment):
    sleeper, _ = experiment.start("worker", "beat")
    ids = experiment.put_in_flight()

    # Held: WAITING or COMPLETED. What another worker reads in its place is the truth by then.
    sleeper.signal(signal.SIGSTOP)
    experiment.klarna.release()
    (awake,) = experiment.start("worker")
    for session_id in ids[1::2]:
        experiment.klarna.set_status(session_id, "COMPLETED")
    experiment.fault_over()
    experiment.deployment.wait_for_outcomes(*ids)
    sleeper.signal(signal.SIGCONT)
    eventually(
        lambda: sleeper.log().count("observation_dropped") >= len(ids),
        because="every old answer is dropped",
    )

    experiment.end()
    assert all(experiment.deployment.transitions(session_id) == ["COMPLETED"] for session_id in ids)
    assert "observation_dropped" not in awake.log()
