"""SIGKILL of a worker at the three points where a program is easily wrong."""

from __future__ import annotations

import psycopg
import pytest
import redis

from tests.support.eventually import eventually
from tests.support.experiment import Experiment
from tests.support.tcp_proxy import TcpProxy, Trap

# How many of a killed worker's transactions or deliveries are under way, at least.
AT_ONCE = 5


@pytest.mark.slow
def test_a_worker_is_killed_while_its_transactions_are_open(experiment: Experiment):
    worker, _ = experiment.start("worker", "beat")
    ids = experiment.put_in_flight()

    with psycopg.connect(experiment.deployment.environment["DATABASE_URL"]) as connection:
        connection.execute(
            "SELECT FROM payment_sessions WHERE session_id = ANY(%s) FOR UPDATE", [ids]
        )
        experiment.klarna.release()
        eventually(
            lambda: len(experiment.deployment.query(_WAITING_FOR_LOCKS)) >= AT_ONCE,
            because="records wait within their transactions",
        )
        worker.kill()
    experiment.start("worker")

    experiment.fault_over()
    experiment.end()


_WAITING_FOR_LOCKS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def test_a_worker_is_killed_after_its_commits_and_before_it_delivers(
    experiment: Experiment, valkey: TcpProxy
):
    broker = {"BROKER_URL": experiment.deployment.environment["REDIS_URL"]}
    (worker,) = experiment.start("worker", REDIS_URL=valkey.url, **broker)
    experiment.start("beat")
    ids = experiment.put_in_flight()

    valkey.trap("XADD", Trap.FREEZE_BEFORE)
    experiment.klarna.release()
    eventually(
        lambda: len(experiment.deployment.query(_COMPLETED)) == len(ids) // 2,
        because="every paid session is committed",
    )
    valkey.wait_for_frozen()
    worker.kill()
    experiment.start("worker")

    experiment.fault_over()
    experiment.end()


_COMPLETED = "SELECT session_id FROM payment_sessions WHERE outcome = 'completed'"


@pytest.mark.slow
def test_a_worker_is_killed_after_its_deliveries_and_before_it_marks_them(
    experiment: Experiment, valkey: TcpProxy
):
    broker = {"BROKER_URL": experiment.deployment.environment["REDIS_URL"]}
    (worker,) = experiment.start("worker", REDIS_URL=valkey.url, **broker)
    experiment.start("beat")
    experiment.put_in_flight()

    valkey.trap("XADD", Trap.FREEZE_AFTER)
    experiment.klarna.release()
    eventually(
        lambda: len(experiment.consumer.read()) >= AT_ONCE,
        because="events are in the stream, on as many connections as the sink has",
    )
    assert not experiment.deployment.query(
        "SELECT * FROM outbox_deliveries WHERE delivered_at IS NOT NULL"
    )
    worker.kill()
    experiment.start("worker")

    experiment.fault_over()
    experiment.end()
    assert len(experiment.consumer.read()) > len(experiment.consumer.once()), (
        "delivered twice, processed once"
    )


@pytest.mark.slow
def test_track_messages_of_a_killed_worker_come_back_within_90_seconds(experiment: Experiment):
    worker, _ = experiment.start("worker", "beat")
    ids = experiment.create()
    experiment.count_in_flight(len(ids))

    with psycopg.connect(experiment.deployment.environment["DATABASE_URL"]) as connection:
        connection.execute("LOCK TABLE payment_sessions IN ACCESS EXCLUSIVE MODE")
        for session_id in ids:
            experiment.deployment.track(session_id)
        with redis.Redis.from_url(experiment.deployment.environment["REDIS_URL"]) as broker:
            eventually(
                lambda: broker.zcard("payment-sessions:unacked_index") == len(ids),
                because="the worker holds them all",
            )
        worker.kill()
    experiment.start("worker")

    experiment.fault_over()
    experiment.end(within=95, target_seconds=90)
