"""`celery control` and `inspect`: ours reach our workers, another app's on this broker do not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.processes import BIN
from tests.support.rabbitmq import rabbitmq
from tests.support.task_events import TaskEvents


@pytest.fixture(params=["redis", "rabbitmq"])
def deployment(
    request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path
) -> Iterator[Deployment]:
    if request.param == "redis":
        with deploy(environment, tmp_path) as deployed:
            yield deployed
        return
    folder = tmp_path / "rabbitmq"
    folder.mkdir()
    with (
        rabbitmq(folder) as broker,
        deploy(environment | {"BROKER_URL": broker.url}, tmp_path) as deployed,
    ):
        yield deployed


def test_commands_of_another_app_do_not_reach_our_workers(
    deployment: Deployment, sandbox: SandboxClient
):
    worker = deployment.start("worker")
    another: Celery = deployment.shop

    assert another.control.inspect(timeout=3).ping() is None
    another.control.cancel_consumer("payment-sessions")
    another.control.shutdown()

    ours = subprocess.run(
        [BIN / "celery", "-A", "worker", "inspect", "ping", "--json", "--timeout", "10"],
        env=deployment.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [reply["ok"] for reply in json.loads(ours.stdout).values()] == ["pong"]
    # Its events are everybody's: one Flower sees the workers of every app.
    with TaskEvents(another) as events:
        session_id = sandbox.create_session(steps=[[0, "COMPLETED"]])["session_id"]
        sent = deployment.track(session_id)
        assert events.end_of(sent)["type"] == "task-succeeded"
    assert worker.process.poll() is None
