"""What anything may push into our lists ends no worker: it is dropped, logged and counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.flower import free_port
from tests.support.metrics import scrape, value
from tests.support.processes import CeleryProcess

CANARY = "canary-7c1d"
QUEUES = ("payment-sessions", "payment-sessions-polls", "payment-sessions-events")
TAG = "1b6f3c57-0c57-4d0b-8a65-9f7f6d3f2a10"
DELIVERY = {"exchange": "", "routing_key": "payment-sessions"}
PROPERTIES = {"delivery_tag": TAG, "delivery_info": DELIVERY}

UNREADABLE: list[bytes] = [
    b"",
    b"\xff\xfe\x00",
    CANARY.encode(),
    b"[" * 100_000,
    b'{"body": ' + b"9" * 5_000 + b"}",
    *(
        json.dumps(message).encode()
        for message in (
            None,
            17,
            [CANARY],
            {},
            {"body": CANARY},
            {"headers": [CANARY], "properties": PROPERTIES},
            {"headers": CANARY, "properties": PROPERTIES},
            {"properties": [CANARY]},
            {"properties": {"__type__": "uuid", "__value__": CANARY}},
            {"properties": {"delivery_tag": TAG}},
            {"properties": {"delivery_info": DELIVERY}},
            {"properties": PROPERTIES | {"delivery_tag": {"a": CANARY}}},
            {"properties": PROPERTIES | {"delivery_tag": "\ud800"}},
            {"properties": PROPERTIES | {"delivery_info": CANARY}},
            {"body": "a", "properties": PROPERTIES | {"body_encoding": "base64"}},
            {"body": 1, "properties": PROPERTIES | {"body_encoding": CANARY}},
        )
    ),
]


# kombu needs more than these have, but their headers name the task.
UNFINISHED: dict[str, dict[str, Any]] = {
    "no properties": {},
    "no delivery tag": {"properties": {"delivery_info": DELIVERY}},
    "no delivery info": {"properties": {"delivery_tag": TAG}},
    "another queue's delivery info": {
        "properties": {
            "delivery_tag": TAG,
            "delivery_info": {"exchange": "", "routing_key": "celery"},
        }
    },
}


@pytest.fixture
def worker(deployment: Deployment) -> CeleryProcess:
    return deployment.start("worker")


@pytest.fixture
def broker(deployment: Deployment) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(deployment.environment["REDIS_URL"]) as client:
        yield client


def unfinished(name: str, session_id: str) -> str:
    headers = {"task": "payment_sessions.track", "id": str(uuid4())}
    body = json.dumps([[session_id], {}, {}])
    content = {"content-type": "application/json", "content-encoding": "utf-8"}
    return json.dumps({"headers": headers, "body": body, **content, **UNFINISHED[name]})


def lines(worker: CeleryProcess) -> list[dict[str, Any]]:
    written = [json.loads(line) for line in worker.log().splitlines() if line.startswith("{")]
    return [line for line in written if line["event"] == "message_dropped"]


def assert_works(deployment: Deployment, sandbox: SandboxClient, worker: CeleryProcess) -> None:
    session_id = sandbox.create_session(steps=[[0, "COMPLETED"]])["session_id"]
    deployment.track(session_id)
    assert deployment.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert worker.process.poll() is None
    assert "Connection to broker lost" not in worker.log()
    assert CANARY not in worker.log()


def test_what_is_no_message_is_dropped_and_counted(
    environment: dict[str, str], sandbox: SandboxClient, tmp_path: Path
):
    port = free_port()
    with deploy(environment | {"METRICS_PORT": str(port)}, tmp_path) as deployment:
        worker = deployment.start("worker")
        with redis.Redis.from_url(environment["REDIS_URL"]) as client:
            for queue in QUEUES:
                client.lpush(queue, *UNREADABLE)
            eventually(lambda: not client.exists(*QUEUES), because="every list is empty")

        assert_works(deployment, sandbox, worker)
        expected = len(UNREADABLE) * len(QUEUES)
        assert value(scrape(port), "payment_sessions_messages_dropped_total") == expected
        assert len(lines(worker)) == expected
        assert {line["reason"].partition(":")[0] for line in lines(worker)} == set(QUEUES)


def test_a_broadcast_that_is_no_message_is_dropped(
    deployment: Deployment, sandbox: SandboxClient, worker: CeleryProcess, broker: redis.Redis
):
    number = broker.connection_pool.connection_kwargs["db"]
    for message in UNREADABLE:
        assert broker.publish(f"/{number}.payment-sessions.pidbox", message) == 1
        assert broker.publish(f"/{number}.celeryev/worker.heartbeat", message) == 1

    assert_works(deployment, sandbox, worker)


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_task_whose_message_lacks_what_kombu_needs_is_run(
    deployment: Deployment,
    sandbox: SandboxClient,
    worker: CeleryProcess,
    broker: redis.Redis,
    name: str,
):
    session_id = sandbox.create_session(steps=[[0, "COMPLETED"]])["session_id"]

    broker.lpush("payment-sessions", unfinished(name, session_id))

    assert deployment.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert not lines(worker)
    assert not broker.exists("celery")
    assert not broker.hlen("payment-sessions:unacked")
