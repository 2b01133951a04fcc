"""Klarna, or the broker, says things twice, late or in the wrong order."""

from __future__ import annotations

from collections import Counter

import pytest
import redis

from tests.support.eventually import eventually
from tests.support.queues import EVENTS, POLLS
from tests.support.trial import Trial

COPIES = 10


def test_every_poll_task_is_delivered_ten_times_at_once(trial: Trial):
    (beat,) = trial.start("beat")
    trial.klarna.add_fault("hold")
    ids = trial.create()
    trial.count_in_flight(len(ids))
    trial.deployment.insert(*ids)
    with redis.Redis.from_url(trial.deployment.environment["REDIS_URL"]) as broker:
        leased = "SELECT count(*) FROM payment_sessions WHERE lease_id IS NOT NULL"
        eventually(
            lambda: trial.deployment.query(leased)[0]["count"] == len(ids),
            because="every session is claimed",
        )
        beat.stop()
        messages = broker.lrange(POLLS, 0, -1)
        broker.lpush(POLLS, *messages * (COPIES - 1))

        trial.start("worker")
        trial.klarna.wait_for_held(len(ids), timeout_seconds=30)
        eventually(lambda: not broker.exists(POLLS), because="every copy was taken")
        trial.klarna.clear_faults()
        trial.klarna.release()

    trial.fault_over()
    trial.start("beat")
    trial.end()
    asked = Counter(r["session_id"] for r in trial.klarna.requests() if r["faults"] == ["hold"])
    assert asked == dict.fromkeys(ids, 1)


@pytest.mark.slow
def test_every_relay_task_is_delivered_ten_times_at_once(trial: Trial):
    trial.start("worker", "beat")
    ids = trial.put_in_flight()
    with redis.Redis.from_url(trial.deployment.environment["REDIS_URL"]) as broker:
        trial.klarna.release()
        trial.deployment.wait_for_outcomes(*ids[::2])
        for session_id in ids[::2]:
            for _ in range(COPIES):
                trial.deployment.shop.send_task(
                    "payment_sessions.relay", args=[[session_id]], queue=EVENTS
                )
        eventually(lambda: not broker.exists(EVENTS), because="every copy was taken")

    trial.fault_over()
    trial.end()
    assert len(trial.consumer.read()) == len(ids), "nothing came twice"


def test_klarna_says_failed_after_completed(trial: Trial):
    trial.start("worker", "beat")
    ids = trial.put_in_flight()
    trial.klarna.release()
    paid = ids[::2]
    trial.deployment.wait_for_outcomes(*paid)

    for session_id in paid:
        trial.klarna.set_status(session_id, "FAILED")
        trial.deployment.track(session_id)

    trial.fault_over()
    trial.end()
    assert all(trial.deployment.transitions(session_id)[-1] == "COMPLETED" for session_id in paid)


@pytest.mark.slow
def test_an_older_status_comes_after_a_newer_one(trial: Trial):
    trial.start("worker", "beat")
    ids = trial.follow()
    for session_id in ids:
        trial.klarna.set_status(session_id, "IN_PROGRESS")
    eventually(
        lambda: all(trial.deployment.transitions(i) == ["WAITING", "IN_PROGRESS"] for i in ids),
        because="every change is seen",
    )

    trial.klarna.add_fault("stale", status="WAITING")
    trial.wait_for_polls(*ids, more=2)
    trial.klarna.clear_faults()

    trial.fault_over()
    trial.end()
    stories = {tuple(trial.deployment.transitions(session_id)) for session_id in ids}
    assert stories == {("WAITING", "IN_PROGRESS", "COMPLETED")}
