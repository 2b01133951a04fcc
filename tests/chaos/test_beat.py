"""Beat killed, beat in numbers, beat stopped: the schedule is in Postgres, not in beat."""

from __future__ import annotations

import signal
from itertools import pairwise

import pytest

from tests.support.tcp_proxy import TcpProxy, Trap
from tests.support.trial import Trial


def test_beat_is_killed_between_its_claim_and_its_send(trial: Trial, valkey: TcpProxy):
    trial.start("worker")
    (beat,) = trial.start("beat", REDIS_URL=valkey.url)
    valkey.trap("payment_sessions.poll", Trap.FREEZE_BEFORE)
    ids = trial.create()
    trial.count_in_flight(len(ids))
    trial.deployment.insert(*ids)
    valkey.wait_for_frozen()

    beat.kill()
    trial.start("beat")

    trial.fault_over()
    trial.end()


@pytest.mark.slow
def test_beat_is_killed_while_replies_are_held(trial: Trial):
    _, beat = trial.start("worker", "beat")
    trial.put_in_flight()

    beat.kill()
    trial.klarna.release()
    trial.start("beat")

    trial.fault_over()
    trial.end()


@pytest.mark.slow
@pytest.mark.parametrize("beats", [2, 3])
def test_several_beats_run_at_once_and_poll_no_session_twice_at_a_time(trial: Trial, beats: int):
    trial.start("worker", *["beat"] * beats)
    # Long enough for a second request to run into the first, were there one.
    trial.klarna.add_fault("delay", delay_seconds=0.2)
    ids = trial.follow()

    trial.wait_for_polls(*ids, more=4)

    trial.fault_over()
    trial.end()

    for session_id in ids:
        for earlier, later in pairwise(trial.klarna.requests(session_id=session_id)):
            assert earlier["finished_monotonic"] <= later["started_monotonic"]


@pytest.mark.slow
def test_beat_stands_still_for_a_minute(trial: Trial):
    _, beat = trial.start("worker", "beat")
    trial.put_in_flight()

    beat.signal(signal.SIGSTOP)
    trial.klarna.release()
    trial.outage(60)

    beat.signal(signal.SIGCONT)
    trial.fault_over()
    trial.end()
