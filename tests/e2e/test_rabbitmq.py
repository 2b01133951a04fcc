"""RabbitMQ as the broker: the whole job, a killed worker, a killed broker."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from kombu import Connection

from devkit.sandbox.server import SandboxClient
from tests.support.command import session_worker
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.in_flight import hold_in_flight, let_go, paid_sessions
from tests.support.queues import taken
from tests.support.rabbitmq import RabbitMq, rabbitmq

SHOP_QUEUE = "shop-events"
# A broker that is killed is away for five seconds; a lease outlasts a request by five.
WAITS = {"POLL_LEASE_SECONDS": "10", "HTTP_TIMEOUT_SECONDS": "5"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    """One for the file: each start takes seconds. Every test leaves its queues empty."""
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as started:
        yield started


@pytest.fixture
def deployment(
    broker: RabbitMq, environment: dict[str, str], tmp_path: Path
) -> Iterator[Deployment]:
    over_amqp = environment | WAITS | {"BROKER_URL": broker.url}
    over_amqp |= {"EVENT_SINKS": "redis_stream,celery", "CELERY_EVENT_QUEUE": SHOP_QUEUE}
    with deploy(over_amqp, tmp_path) as deployed:
        # As docs/scaling.md tells shops: what was sent is in the broker.
        deployed.shop.conf.broker_transport_options = {"confirm_publish": True}
        yield deployed


def events_of_shop(broker: RabbitMq) -> list[dict[str, Any]]:
    """The CloudEvents that wait for the shop's own Celery workers, taken."""
    return [message.payload[0][0] for message in taken(broker.url, SHOP_QUEUE)]


def waiting(broker: RabbitMq, queue: str) -> int:
    """How many messages no worker holds."""
    with Connection(broker.url) as connection:
        return connection.default_channel.queue_declare(queue, passive=True).message_count


def test_sessions_are_tracked_polled_and_notified_of_over_rabbitmq(
    deployment: Deployment, sandbox: SandboxClient, broker: RabbitMq
):
    deployment.start_all("worker", "beat")
    created = [sandbox.create_session(steps=[[0, "WAITING"], [2, "COMPLETED"]]) for _ in range(20)]
    ids = [session["session_id"] for session in created]

    for session_id in ids:
        deployment.track(session_id)

    assert set(deployment.wait_for_outcomes(*ids).values()) == {"completed"}
    deployment.assert_invariants()
    assert {event["subject"] for event in events_of_shop(broker)} == set(ids)
    checked = session_worker(deployment.environment, "check")
    assert "broker: amqp" in checked.out, checked.out + checked.err
    assert session_worker(deployment.environment, "health").code == 0


def test_track_messages_of_a_killed_worker_come_again_at_once(
    deployment: Deployment, sandbox: SandboxClient, broker: RabbitMq
):
    worker = deployment.start("worker")
    ids = paid_sessions(sandbox, 20)
    with psycopg.connect(deployment.environment["DATABASE_URL"]) as connection:
        connection.execute("LOCK TABLE payment_sessions IN ACCESS EXCLUSIVE MODE")
        for session_id in ids:
            deployment.track(session_id)
        eventually(
            lambda: waiting(broker, "payment-sessions") == 0, because="the worker holds them all"
        )
        worker.kill()
    assert not deployment.query("SELECT * FROM payment_sessions")

    deployment.start_all("worker", "beat")

    assert set(deployment.wait_for_outcomes(*ids).values()) == {"completed"}
    deployment.assert_invariants()


def test_a_killed_broker_loses_neither_sessions_in_flight_nor_messages_nor_events(
    deployment: Deployment, sandbox: SandboxClient, broker: RabbitMq
):
    worker, beat = deployment.start_all("worker", "beat")
    in_flight = hold_in_flight(deployment, sandbox, 30)
    worker.signal(signal.SIGSTOP)
    enqueued = paid_sessions(sandbox, 20)
    for session_id in enqueued:
        deployment.track(session_id)

    broker.kill()
    worker.signal(signal.SIGCONT)
    let_go(sandbox)
    eventually(
        lambda: deployment.query("SELECT outcome FROM payment_sessions WHERE outcome IS NOT NULL"),
        because="replies are recorded while there is no broker",
    )
    broker.start()

    assert set(deployment.wait_for_outcomes(*in_flight, *enqueued).values()) == {"completed"}
    deployment.assert_invariants()
    assert {event["subject"] for event in events_of_shop(broker)} >= {*in_flight, *enqueued}
    assert [process.process.poll() for process in (worker, beat)] == [None, None]
