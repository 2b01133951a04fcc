"""The rights of docs/deployment.md are all that Redis needs to give: nothing is refused."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.command import session_worker
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.flower import flower
from tests.support.processes import BIN
from tests.support.valkey import Valkey
from tests.support.valkey import valkey as run_valkey

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
BLOCK = re.compile(r"^```text redis-user\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What the page says of `+llen`: one refusal for each kind of name that `check` looks for.
UNREAD_LISTS = {"celerypayment-sessions", "payment_sessions"}
LOGIN = "operator:a-made-up-password"


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with run_valkey(tmp_path / "valkey") as started:
        (documented,) = BLOCK.findall(PAGE.read_text())
        started.client.execute_command(*documented.replace("PASSWORD", "a-password").split())
        yield started


@pytest.fixture
def deployment(environment: dict[str, str], valkey: Valkey, tmp_path: Path) -> Iterator[Deployment]:
    url = valkey.url.replace("//", "//payment-sessions:a-password@")
    settings = {"REDIS_URL": url, "FLOWER_BASIC_AUTH": LOGIN}
    with deploy(environment | settings, tmp_path) as deployed:
        yield deployed


def test_a_session_is_tracked_watched_and_controlled(
    deployment: Deployment, sandbox: SandboxClient, valkey: Valkey, tmp_path: Path
):
    first, second = sandbox.create_sessions([{"steps": [[0, "WAITING"], [2, "COMPLETED"]]}] * 2)
    ids = [first["session_id"], second["session_id"]]
    with flower(deployment.environment, tmp_path / "flower.log") as watching:
        worker, beat = deployment.start_all("worker", "beat")
        name = watching.wait_until_it_sees_a_worker()

        assert session_worker(deployment.environment, "track", ids[0]).code == 0
        watching.send("payment_sessions.track", ids[1])
        deployment.wait_for_outcomes(*ids)
        deployment.assert_invariants()
        assert "payment-sessions-polls" in watching.active(name)
        watching.text("/broker")

    subprocess.run(
        [BIN / "celery", "-A", "worker", "inspect", "ping"],
        env=deployment.environment,
        check=True,
        capture_output=True,
    )
    for command in ("check", "health", "stats"):
        ran = session_worker(deployment.environment, command)
        assert ran.code == 0, ran.out + ran.err
    assert worker.stop() == beat.stop() == 0
    refused = {entry["object"] for entry in valkey.client.acl_log()}
    assert refused == UNREAD_LISTS
