"""A worker is asked to end, in every way: its polls are finished or released."""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.support.eventually import eventually
from tests.support.experiment import Experiment
from tests.support.processes import CeleryProcess

# What the environment's POLL_MAX_INTERVAL_SECONDS says, and how late a poll may be at most.
EVERY, LATE = 1, 5
# Celery reads settings from its command line, too.
SOFT = ("--", "worker.soft_shutdown_timeout=3")


def end_warmly(worker: CeleryProcess) -> None:
    worker.signal(signal.SIGTERM)


def end_coldly(worker: CeleryProcess) -> None:
    worker.signal(signal.SIGQUIT)


def end_softly(worker: CeleryProcess) -> None:
    """As coldly, where `SOFT` gives it time to end what it has in hand."""
    worker.signal(signal.SIGQUIT)


def end_impatiently(worker: CeleryProcess) -> None:
    """Ctrl-C, and again."""
    worker.signal(signal.SIGINT)
    eventually(lambda: "Warm shutdown" in worker.log(), because="the first one is heard")
    worker.signal(signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("end", [end_warmly, end_coldly, end_softly, end_impatiently])
def test_a_worker_ends_with_replies_outstanding(
    experiment: Experiment, end: Callable[[CeleryProcess], None]
):
    # Far longer than a recovery may take: a lease that runs out heals nothing here.
    experiment.deployment.environment["POLL_LEASE_SECONDS"] = "120"
    (worker,) = experiment.start("worker", arguments=SOFT if end is end_softly else ())
    experiment.start("beat")
    experiment.put_in_flight()

    end(worker)
    experiment.start("worker")
    worker.wait_for_end(within=20)

    experiment.fault_over()
    experiment.end(target_seconds=10)
    assert " raised " not in experiment.deployment.logs()


@pytest.mark.slow
def test_workers_are_replaced_every_five_seconds_for_a_minute(experiment: Experiment):
    worker, _ = experiment.start("worker", "beat")
    ids = experiment.track()

    for _ in range(12):
        (next_worker,) = experiment.start("worker")
        experiment.outage(5)
        experiment.processes.remove(worker)
        worker.signal(signal.SIGTERM)
        worker = next_worker
    experiment.fault_over()
    experiment.end()

    assert max(longest_wait(experiment, session_id) for session_id in ids) < EVERY + LATE
    assert " raised " not in experiment.deployment.logs(), "no task failed"


def longest_wait(experiment: Experiment, session_id: str) -> float:
    """The longest time between two requests for a session."""
    starts = [r["started_monotonic"] for r in experiment.klarna.requests(session_id=session_id)]
    assert len(starts) > 30
    return max(later - earlier for earlier, later in pairwise(starts))
