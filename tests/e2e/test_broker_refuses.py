"""A Redis that refuses is a lost connection: the worker reconnects, and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.processes import CeleryProcess
from tests.support.valkey import Valkey
from tests.support.valkey import valkey as run_valkey


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with run_valkey(tmp_path / "valkey") as started:
        yield started


@pytest.fixture
def deployment(environment: dict[str, str], valkey: Valkey, tmp_path: Path) -> Iterator[Deployment]:
    with deploy(environment | {"REDIS_URL": valkey.url}, tmp_path) as deployed:
        yield deployed


def assert_works(deployment: Deployment, sandbox: SandboxClient, worker: CeleryProcess) -> None:
    """The same process takes and polls what is tracked now."""
    session_id = sandbox.create_session(steps=[[0, "COMPLETED"]])["session_id"]
    deployment.track(session_id)
    assert deployment.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert worker.process.poll() is None
    assert "Unrecoverable" not in worker.log()


def wait_for_word(worker: CeleryProcess, word: str) -> None:
    eventually(lambda: word in worker.log(), within=30, because=f"the broker sent: {word}")


@pytest.mark.parametrize(
    ("serve_stale_data", "said"),
    [("yes", "read only replica"), ("no", "Link with MASTER is down")],
    ids=["READONLY", "MASTERDOWN"],
)
def test_a_primary_that_becomes_a_replica_is_a_lost_connection(
    deployment: Deployment, sandbox: SandboxClient, valkey: Valkey, serve_stale_data: str, said: str
):
    worker = deployment.start("worker")
    valkey.client.config_set("replica-serve-stale-data", serve_stale_data)

    valkey.become_replica()
    wait_for_word(worker, said)
    valkey.become_primary()

    assert_works(deployment, sandbox, worker)


def test_a_worker_waits_for_a_replica_to_become_the_primary(
    deployment: Deployment, sandbox: SandboxClient, valkey: Valkey
):
    valkey.become_replica()
    worker = deployment.start("worker", wait=False)
    wait_for_word(worker, "read only replica")

    valkey.become_primary()
    worker.wait_until_ready()

    assert_works(deployment, sandbox, worker)


def test_a_wait_that_an_operator_ends_is_a_lost_connection(
    deployment: Deployment, sandbox: SandboxClient, valkey: Valkey
):
    worker = deployment.start("worker")

    def unblocked() -> int:
        clients = [each["id"] for each in valkey.client.client_list() if each["cmd"] == "brpop"]
        return sum(valkey.client.client_unblock(each, error=True) for each in clients)

    eventually(unblocked, because="the worker's wait is ended")
    wait_for_word(worker, "UNBLOCKED")

    assert_works(deployment, sandbox, worker)


def test_a_worker_waits_for_a_server_that_loads_its_data(
    deployment: Deployment, sandbox: SandboxClient, valkey: Valkey
):
    worker = deployment.start("worker")

    valkey.load_slowly()
    wait_for_word(worker, "loading the dataset")
    valkey.load_at_once()

    assert_works(deployment, sandbox, worker)


def test_a_queue_that_is_no_list_is_a_lost_connection(
    deployment: Deployment, sandbox: SandboxClient, valkey: Valkey
):
    worker = deployment.start("worker")

    valkey.client.set("payment-sessions", "no list")
    wait_for_word(worker, "WRONGTYPE")
    valkey.client.delete("payment-sessions")

    assert_works(deployment, sandbox, worker)


def test_rights_that_are_taken_away_and_given_again_are_a_lost_connection(
    environment: dict[str, str], sandbox: SandboxClient, valkey: Valkey, tmp_path: Path
):
    valkey.client.execute_command("ACL SETUSER", "app", "on", "nopass", "~*", "&*", "+@all")
    url = valkey.url.replace("//", "//app:any@")
    with deploy(environment | {"REDIS_URL": url}, tmp_path) as deployed:
        worker = deployed.start("worker")

        valkey.client.execute_command("ACL SETUSER", "app", "-brpop")
        wait_for_word(worker, "no permissions")
        valkey.client.execute_command("ACL SETUSER", "app", "+brpop")

        assert_works(deployed, sandbox, worker)
