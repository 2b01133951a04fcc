"""Beat killed, several beats, beat stopped: the schedule is in Postgres, not in beat."""

from __future__ import annotations

import signal
from itertools import pairwise

import pytest

from tests.support.experiment import Experiment
from tests.support.tcp_proxy import TcpProxy, Trap


def test_beat_is_killed_between_its_claim_and_its_send(experiment: Experiment, valkey: TcpProxy):
    experiment.start("worker")
    (beat,) = experiment.start("beat", REDIS_URL=valkey.url)
    valkey.trap("payment_sessions.poll", Trap.FREEZE_BEFORE)
    ids = experiment.create()
    experiment.count_in_flight(len(ids))
    experiment.deployment.insert(*ids)
    valkey.wait_for_frozen()

    beat.kill()
    experiment.start("beat")

    experiment.fault_over()
    experiment.end()


@pytest.mark.slow
def test_beat_is_killed_while_replies_are_held(experiment: Experiment):
    _, beat = experiment.start("worker", "beat")
    experiment.put_in_flight()

    beat.kill()
    experiment.klarna.release()
    experiment.start("beat")

    experiment.fault_over()
    experiment.end()


@pytest.mark.slow
@pytest.mark.parametrize("beats", [2, 3])
def test_several_beats_run_at_once_and_poll_no_session_twice_at_a_time(
    experiment: Experiment, beats: int
):
    experiment.start("worker", *["beat"] * beats)
    # Long enough for a second request to run into the first, were there one.
    experiment.klarna.add_fault("delay", delay_seconds=0.2)
    ids = experiment.track()

    experiment.wait_for_polls(*ids, more=4)

    experiment.fault_over()
    experiment.end()

    for session_id in ids:
        for earlier, later in pairwise(experiment.klarna.requests(session_id=session_id)):
            assert earlier["finished_monotonic"] <= later["started_monotonic"]


@pytest.mark.slow
def test_beat_stands_still_for_a_minute(experiment: Experiment):
    _, beat = experiment.start("worker", "beat")
    experiment.put_in_flight()

    beat.signal(signal.SIGSTOP)
    experiment.klarna.release()
    experiment.outage(60)

    beat.signal(signal.SIGCONT)
    experiment.fault_over()
    experiment.end()
