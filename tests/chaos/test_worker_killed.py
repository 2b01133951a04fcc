"""SIGKILL of a worker: another one finishes what it had in hand."""

from __future__ import annotations

import psycopg
import redis

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.experiment import Judge
from tests.support.in_flight import (
    COUNT,
    database_now,
    hold_in_flight,
    let_go,
    paid_sessions,
)

UNACKED = "payment-sessions:unacked_index"
VISIBILITY_TIMEOUT_SECONDS = 60


def test_polls_of_a_killed_worker_are_done_by_another_once_their_leases_are_over(
    deployment: Deployment, sandbox: SandboxClient, judge: Judge
):
    worker, _ = deployment.start_all("worker", "beat")
    ids = hold_in_flight(deployment, sandbox)

    worker.kill()
    let_go(sandbox)
    deployment.start("worker")
    replaced_at = database_now(deployment)

    assert set(deployment.wait_for_outcomes(*ids).values()) == {"completed"}
    judge(deployment, ids, since=replaced_at)


def test_track_messages_that_a_killed_worker_held_are_delivered_again(
    deployment: Deployment, sandbox: SandboxClient, judge: Judge
):
    worker, _ = deployment.start_all("worker", "beat")
    ids = paid_sessions(sandbox)
    with psycopg.connect(deployment.environment["DATABASE_URL"]) as connection:
        connection.execute("LOCK TABLE payment_sessions IN ACCESS EXCLUSIVE MODE")
        for session_id in ids:
            deployment.track(session_id)
        with redis.Redis.from_url(deployment.environment["REDIS_URL"]) as client:
            eventually(lambda: client.zcard(UNACKED) == COUNT, because="the worker holds them all")
            worker.kill()
            # The wait for the broker's own timeout, shortened: as if they were held since then.
            for message in client.zrange(UNACKED, 0, -1):
                client.zincrby(UNACKED, -VISIBILITY_TIMEOUT_SECONDS, message)
    assert not deployment.query("SELECT * FROM payment_sessions")

    deployment.start("worker")
    replaced_at = database_now(deployment)

    assert set(deployment.wait_for_outcomes(*ids).values()) == {"completed"}
    judge(deployment, ids, since=replaced_at)
