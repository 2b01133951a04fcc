"""Klarna, or the broker, says things twice, late or in the wrong order."""

from __future__ import annotations

from collections import Counter

import pytest
import redis

from tests.support.eventually import eventually
from tests.support.experiment import Experiment
from tests.support.queues import EVENTS, POLLS

COPIES = 10


def test_every_poll_task_is_delivered_ten_times_at_once(experiment: Experiment):
    (beat,) = experiment.start("beat")
    experiment.klarna.add_fault("hold")
    ids = experiment.create()
    experiment.count_in_flight(len(ids))
    experiment.deployment.insert(*ids)
    with redis.Redis.from_url(experiment.deployment.environment["REDIS_URL"]) as broker:
        leased = "SELECT count(*) FROM payment_sessions WHERE lease_id IS NOT NULL"
        eventually(
            lambda: experiment.deployment.query(leased)[0]["count"] == len(ids),
            because="every session is claimed",
        )
        beat.stop()
        messages = broker.lrange(POLLS, 0, -1)
        broker.lpush(POLLS, *messages * (COPIES - 1))

        experiment.start("worker")
        experiment.klarna.wait_for_held(len(ids), timeout_seconds=30)
        eventually(lambda: not broker.exists(POLLS), because="every copy was taken")
        experiment.klarna.clear_faults()
        experiment.klarna.release()

    experiment.fault_over()
    experiment.start("beat")
    experiment.end()
    asked = Counter(
        r["session_id"] for r in experiment.klarna.requests() if r["faults"] == ["hold"]
    )
    assert asked == dict.fromkeys(ids, 1)


@pytest.mark.slow
def test_every_relay_task_is_delivered_ten_times_at_once(experiment: Experiment):
    experiment.start("worker", "beat")
    ids = experiment.put_in_flight()
    with redis.Redis.from_url(experiment.deployment.environment["REDIS_URL"]) as broker:
        experiment.klarna.release()
        experiment.deployment.wait_for_outcomes(*ids[::2])
        for session_id in ids[::2]:
            for _ in range(COPIES):
                experiment.deployment.shop.send_task(
                    "payment_sessions.relay", args=[[session_id]], queue=EVENTS
                )
        eventually(lambda: not broker.exists(EVENTS), because="every copy was taken")

    experiment.fault_over()
    experiment.end()
    assert len(experiment.consumer.read()) == len(ids), "nothing came twice"


def test_klarna_says_failed_after_completed(experiment: Experiment):
    experiment.start("worker", "beat")
    ids = experiment.put_in_flight()
    experiment.klarna.release()
    paid = ids[::2]
    experiment.deployment.wait_for_outcomes(*paid)

    for session_id in paid:
        experiment.klarna.set_status(session_id, "FAILED")
        experiment.deployment.track(session_id)

    experiment.fault_over()
    experiment.end()
    assert all(
        experiment.deployment.transitions(session_id)[-1] == "COMPLETED" for session_id in paid
    )


def test_completed_comes_before_its_token(experiment: Experiment):
    experiment.start("worker", "beat")
    ids = experiment.track()
    experiment.klarna.add_fault("edit", omit=["authorization_token"])
    for session_id in ids:
        experiment.klarna.set_status(session_id, "COMPLETED")
    eventually(
        lambda: all(experiment.deployment.transitions(i)[-1] == "COMPLETED" for i in ids),
        because="every session is seen as completed, without its token",
    )
    experiment.wait_for_polls(*ids)
    experiment.klarna.clear_faults()

    experiment.fault_over()
    experiment.end()


@pytest.mark.slow
def test_an_older_status_comes_after_a_newer_one(experiment: Experiment):
    experiment.start("worker", "beat")
    ids = experiment.track()
    for session_id in ids:
        experiment.klarna.set_status(session_id, "IN_PROGRESS")
    eventually(
        lambda: all(
            experiment.deployment.transitions(i) == ["WAITING", "IN_PROGRESS"] for i in ids
        ),
        because="every change is seen",
    )

    experiment.klarna.add_fault("stale", status="WAITING")
    experiment.wait_for_polls(*ids, more=2)
    experiment.klarna.clear_faults()

    experiment.fault_over()
    experiment.end()
    stories = {tuple(experiment.deployment.transitions(session_id)) for session_id in ids}
    assert stories == {("WAITING", "IN_PROGRESS", "COMPLETED")}
