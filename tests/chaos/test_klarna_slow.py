"""Klarna answers late, in drops, or after the worker was frozen past its leases."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.trial import Trial

SLOW = {"username": "slow-user", "password": "slow-password"}


@pytest.mark.slow
def test_one_account_hangs_and_the_sessions_of_another_stay_on_time(trial: Trial):
    trial.klarna.put_account("slow", **SLOW, requests_per_second=0)
    trial.deployment.environment |= {
        "KLARNA_ACCOUNTS__SLOW__USERNAME": SLOW["username"],
        "KLARNA_ACCOUNTS__SLOW__PASSWORD": SLOW["password"],
        "KLARNA_ACCOUNTS__SLOW__BASE_URL": trial.klarna.url,
    }
    trial.start("worker", "beat")
    trial.klarna.add_fault("hold", account="slow")
    hanging = trial.create(account="slow")
    trial.count_in_flight(len(hanging))
    trial.deployment.insert(*hanging, account="slow")
    trial.klarna.wait_for_held(len(hanging), account="slow")

    on_time = trial.follow()
    trial.wait_for_polls(*on_time, more=4)
    for session_id in on_time:
        starts = [r["started_monotonic"] for r in trial.klarna.requests(session_id=session_id)]
        assert max(later - earlier for earlier, later in pairwise(starts)) < 3

    trial.klarna.clear_faults()
    trial.klarna.release()
    trial.fault_over()
    trial.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    "drip",
    [
        pytest.param({"kind": "slow_headers", "interval_seconds": 0.5}, id="headers"),
        pytest.param({"kind": "drip", "interval_seconds": 0.5}, id="body"),
    ],
)
def test_every_answer_comes_in_drops(trial: Trial, drip: Mapping[str, Any]):
    trial.start("worker", "beat")
    trial.put_in_flight()

    trial.klarna.add_fault(**drip)
    trial.klarna.release()
    eventually(
        lambda: len(trial.deployment.query(_GIVEN_UP)) >= 25,
        because="the deadline ends each read",
    )

    trial.klarna.clear_faults()
    trial.fault_over()
    trial.end()


_GIVEN_UP = "SELECT session_id FROM payment_sessions WHERE last_error ~ 'no whole answer'"


@pytest.mark.slow
def test_replies_reach_a_worker_that_slept_past_its_leases(trial: Trial):
    sleeper, _ = trial.start("worker", "beat")
    ids = trial.put_in_flight()

    # Held: WAITING or COMPLETED. What another worker reads in its place is the truth by then.
    sleeper.signal(signal.SIGSTOP)
    trial.klarna.release()
    (awake,) = trial.start("worker")
    for session_id in ids[1::2]:
        trial.klarna.set_status(session_id, "COMPLETED")
    trial.fault_over()
    trial.deployment.wait_for_outcomes(*ids)
    sleeper.signal(signal.SIGCONT)
    eventually(
        lambda: sleeper.log().count("observation_dropped") >= len(ids),
        because="every old answer is dropped",
    )

    trial.end()
    assert all(trial.deployment.transitions(session_id) == ["COMPLETED"] for session_id in ids)
    assert "observation_dropped" not in awake.log()
