"""`health` is red within a minute of what breaks, and green within a minute of its repair.

With real processes; it runs in this process, so that asking costs nothing.
"""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from devkit.sandbox.server import SandboxClient
from tests.support.command import session_worker
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.processes import BIN, CeleryProcess
from worker.cli import app

WITHIN = 60


@pytest.fixture
def processes(deployment: Deployment) -> dict[str, CeleryProcess]:
    """A worker and a beat, and `health` is green."""
    worker, beat = deployment.start_all("worker", "beat")
    turns_green(deployment)
    return {"worker": worker, "beat": beat}


def faults(deployment: Deployment) -> list[str]:
    """The faults that `health` names."""
    ran = CliRunner().invoke(app, ["health", "--json"], env=deployment.environment)
    answer = json.loads(ran.stdout)
    found = [f"{each['subject']}: {each['text']}" for each in answer["findings"] if not each["ok"]]
    assert (ran.exit_code, answer["ok"]) == (1 if found else 0, not found)
    return found


def turns_red(deployment: Deployment, *words: str) -> None:
    def named() -> bool:
        return any(all(word in fault for word in words) for fault in faults(deployment))

    eventually(named, within=WITHIN, because=f"health names {words}")


def turns_green(deployment: Deployment) -> None:
    eventually(lambda: not faults(deployment), within=WITHIN, because="nothing is wrong any more")


def control(deployment: Deployment, *command: str) -> None:
    """Tell every worker something, as an operator does."""
    subprocess.run(
        [BIN / "celery", "-A", "worker", "control", *command],
        env=deployment.environment,
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_a_killed_process(deployment: Deployment, processes: dict[str, CeleryProcess], role: str):
    processes[role].kill()

    turns_red(deployment, f"{role}: none has been seen since", f"`celery -A worker {role}`")
    deployment.start(role)
    turns_green(deployment)


def test_a_stopped_worker_while_shops_track(
    deployment: Deployment, processes: dict[str, CeleryProcess], sandbox: SandboxClient
):
    """Both are told: that no worker is seen, and that messages wait."""
    processes["worker"].signal(signal.SIGSTOP)
    # Redis gives the first to the connection of the stopped worker.
    for _ in range(4):
        deployment.track(sandbox.create_session(expires_in=600)["session_id"])

    try:
        turns_red(deployment, "worker: none has been seen since")
        turns_red(deployment, "queue payment-sessions: ", " messages wait, the oldest for at least")
    finally:
        processes["worker"].signal(signal.SIGCONT)
    turns_green(deployment)


@pytest.mark.usefixtures("processes")
def test_a_worker_that_consumes_no_more(deployment: Deployment, sandbox: SandboxClient):
    """It lives, and its heartbeats come."""
    control(deployment, "cancel_consumer", "payment-sessions")
    deployment.track(sandbox.create_session(expires_in=600)["session_id"])

    turns_red(deployment, "queue payment-sessions: 1 message waits, the oldest for at least")
    assert not [fault for fault in faults(deployment) if "worker:" in fault]
    control(deployment, "add_consumer", "payment-sessions")
    turns_green(deployment)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "invalid_json"}, "3 sessions have been read in vain five times or more since"),
        ({"kind": "status", "code": 401}, "is refused by Klarna (401 or 403) since"),
        ({"kind": "status", "code": 503}, "reads have failed since"),
    ],
    ids=["no JSON", "refused", "failing"],
)
@pytest.mark.usefixtures("processes")
def test_every_read_is_in_vain(
    deployment: Deployment, sandbox: SandboxClient, fault: dict[str, Any], words: str
):
    sandbox.add_fault(**fault)
    for _ in range(3):
        deployment.track(sandbox.create_session(expires_in=3600)["session_id"])

    turns_red(deployment, "account default: ", words)
    sandbox.clear_faults()
    turns_green(deployment)


@pytest.mark.usefixtures("processes")
def test_a_list_that_no_worker_reads(deployment: Deployment):
    deployment.shop.send_task("payment_sessions.track", args=["x"], queue="payment_sessions")

    turns_red(deployment, "broker: 1 message waits in the list 'payment_sessions'")
    with redis.Redis.from_url(deployment.environment["REDIS_URL"]) as client:
        client.delete("payment_sessions")
    turns_green(deployment)


@pytest.mark.usefixtures("processes")
def test_a_refused_message(deployment: Deployment):
    deployment.track("not/an/id")

    turns_red(deployment, "refused messages of payment_sessions.track", "because of session_id")
    (row,) = deployment.query("SELECT refused_id FROM refused_messages")
    command = ("refused", "drop", str(row["refused_id"]), "--yes")
    assert session_worker(deployment.environment, *command).code == 0
    turns_green(deployment)
