"""The Procfile, run by honcho as README says; Flower behind its login."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from honcho.environ import parse_procfile

from devkit.sandbox.server import SandboxClient
from tests.support.databases import Databases
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.processes import BIN, NO_ENV_FILE

ROOT = Path(__file__).parents[2]
LOGIN = ("operator", "a-made-up-password")
HONCHO = str(BIN / "honcho")


@pytest.fixture
def unmigrated(
    environment: dict[str, str], databases: Databases, tmp_path: Path
) -> Iterator[Deployment]:
    """A new deployment: no table, no process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        flower_port = free.getsockname()[1]
    url = databases.create_empty()
    settings = environment | {
        "PATH": f"{BIN}{os.pathsep}{environment['PATH']}",
        "DATABASE_URL": url,
        "FLOWER_BASIC_AUTH": ":".join(LOGIN),
        "FLOWER_ADDRESS": "127.0.0.1",
        "FLOWER_PORT": str(flower_port),
    }
    with deploy(settings, tmp_path) as deployed:
        yield deployed
    databases.drop(url)


def _env_file(deployed: Deployment, folder: Path) -> Path:
    file = folder / ".env"
    own = {name: value for name, value in deployed.environment.items() if "PATH" not in name}
    file.write_text("".join(f"{name}={value}\n" for name, value in own.items()))
    return file


def test_each_line_is_one_plain_command():
    lines = parse_procfile((ROOT / "Procfile").read_text()).processes

    assert lines == {
        "release": "alembic upgrade head",
        "worker": "celery -A worker worker",
        "beat": "celery -A worker beat",
        "flower": "celery -A worker flower",
        "console": "session-worker console",
    }


def test_honcho_runs_it_all_even_before_the_database_is_migrated(
    unmigrated: Deployment, sandbox: SandboxClient, tmp_path: Path
):
    """What was enqueued before the first migration is tracked after it."""
    created = sandbox.create_session(steps=[[0.2, "COMPLETED"]], expires_in=600)
    session_id = created["session_id"]
    start = [HONCHO, "-e", str(_env_file(unmigrated, tmp_path)), "start"]
    log = tmp_path / "honcho.log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            [*start, "worker", "beat", "flower"],
            cwd=ROOT,
            env={"PATH": unmigrated.environment["PATH"]},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        unmigrated.track(session_id)
        eventually(
            lambda: "track_retrying" in log.read_text() and "tick_failed" in log.read_text(),
            within=30,
            because="worker and beat wait for the migration",
        )
        subprocess.run(
            [HONCHO, "-e", str(tmp_path / ".env"), "run", "alembic", "upgrade", "head"],
            cwd=ROOT,
            env={"PATH": unmigrated.environment["PATH"]},
            check=True,
        )

        assert unmigrated.wait_for_outcomes(session_id) == {session_id: "completed"}
        _assert_flower_asks_for_a_login(unmigrated.environment["FLOWER_PORT"])
        assert running.poll() is None, log.read_text()
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)
    unmigrated.assert_invariants()


def _assert_flower_asks_for_a_login(port: str) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as anybody:
        eventually(lambda: _answers(anybody), because="Flower answers")
        assert anybody.get("/workers").status_code == 401
        assert anybody.get("/api/workers").status_code == 401
        assert anybody.get("/workers", auth=LOGIN).status_code == 200


def _answers(anybody: httpx.Client) -> bool:
    try:
        return anybody.get("/healthcheck").is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("login", [None, "", "operator:"])
def test_flower_does_not_start_without_a_login(redis_url: str, login: str | None):
    """An open Flower lets anybody shut down workers. Its environment has the broker alone."""
    environment = {**NO_ENV_FILE, "PATH": os.environ["PATH"], "REDIS_URL": redis_url}
    ended = subprocess.run(
        [BIN / "celery", "-A", "worker", "flower", "--address=127.0.0.1", "--port=0"],
        cwd=ROOT,
        env=environment | ({} if login is None else {"FLOWER_BASIC_AUTH": login}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ended.returncode == 2
    assert ended.stderr.endswith("Invalid settings:\n  FLOWER_BASIC_AUTH: must be user:password\n")
