"""The README's commands and programs, in order, with those of events.md and integration.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.processes import BIN

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EVENTS = (ROOT / "docs" / "events.md").read_text()
INTEGRATION = (ROOT / "docs" / "integration.md").read_text()
# ```python enqueue.py … ```
NAMED_BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = dict(NAMED_BLOCK.findall(README) + NAMED_BLOCK.findall(EVENTS))
MESSAGE = dict(NAMED_BLOCK.findall(INTEGRATION))["message.json"]
SEE, DEPLOY, WATCH = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
FROM_PYTHON = ["39a1c773-bafd-754d-af1f-b30c592f1267", "5a3fc9ba-2b2e-7c8e-9d9c-1f3a0c5a7d10"]
# 5 s of waiting, and what Python needs to start on a busy machine.
SILENT_SECONDS = 30
FROM_ELSEWHERE = "7c1f0a52-94d1-7b1e-8a40-6f5f2b7f9c33"


def test_the_two_commands_are_there():
    """They are run by .ci/run and by a test of the demo."""
    for command in SEE.split():
        assert os.access(ROOT / command, os.X_OK), command


def test_what_the_readme_says_is_what_happens(
    deployment: Deployment, sandbox: SandboxClient, tmp_path: Path
):
    for session_id in [*FROM_PYTHON, FROM_ELSEWHERE]:
        sandbox.create_session(
            session_id=session_id, steps=[[0.1, "IN_PROGRESS"], [0.5, "COMPLETED"]], expires_in=900
        )
    for name, program in PROGRAMS.items():
        (tmp_path / name).write_text(program)
    with _deployed(deployment, _checkout(tmp_path)):
        _enqueue_from_python(deployment, tmp_path)
        _enqueue_from_elsewhere(deployment)
        _consume_the_stream(deployment, tmp_path)
        _receive_tasks(deployment, tmp_path)
        _watch(deployment, tmp_path)
    deployment.assert_invariants()


# --- deploy


def _checkout(folder: Path) -> Path:
    """As much of a checkout as a deployment looks at."""
    checkout = folder / "checkout"
    shutil.copytree(ROOT / "migrations", checkout / "migrations")
    for name in ("Procfile", "pyproject.toml", ".env.example"):
        shutil.copy(ROOT / name, checkout)
    (checkout / ".venv").symlink_to(BIN.parent)
    return checkout


@contextmanager
def _deployed(deployment: Deployment, checkout: Path) -> Iterator[None]:
    copy, *commands = DEPLOY.strip().splitlines()
    subprocess.run(["bash", "-ec", copy], cwd=checkout, check=True)
    settings = {n: v for n, v in deployment.environment.items() if n not in {"PATH", "HOME"}}
    settings |= {"EVENT_SINKS": "redis_stream,celery", "FLOWER_BASIC_AUTH": "operator:made-up"}
    settings |= {"FLOWER_ADDRESS": "127.0.0.1", "FLOWER_PORT": "0"}
    settings |= {"CONSOLE_BASIC_AUTH": "operator:made-up"}
    with (checkout / ".env").open("a") as env_file:
        env_file.writelines(f"{name}={value}\n" for name, value in settings.items())
    with _running(["bash", "-ec", "\n".join(commands)], checkout, {}):
        yield


# --- as a shop


def _enqueue_from_python(deployment: Deployment, folder: Path) -> None:
    subprocess.run(
        [sys.executable, "enqueue.py"], cwd=folder, env=_environment(deployment), check=True
    )

    assert set(deployment.wait_for_outcomes(*FROM_PYTHON, within=60).values()) == {"completed"}
    stored = deployment.session(FROM_PYTHON[1])
    assert stored is not None
    assert stored["reference"] == "order-18"


def _enqueue_from_elsewhere(deployment: Deployment) -> None:
    message = json.loads(MESSAGE)
    with redis.Redis.from_url(deployment.environment["REDIS_URL"]) as server:
        server.lpush("payment-sessions", json.dumps(message))

    assert deployment.wait_for_outcomes(FROM_ELSEWHERE) == {FROM_ELSEWHERE: "completed"}
    stored = deployment.session(FROM_ELSEWHERE)
    assert stored is not None
    assert stored["reference"] == "order-19"


def _consume_the_stream(deployment: Deployment, folder: Path) -> None:
    """Every event arrives and is acknowledged; and again after Redis lost the stream."""
    stream = "payment-session-events"
    with (
        redis.Redis.from_url(deployment.environment["REDIS_URL"]) as server,
        _running([sys.executable, "consume.py"], folder, _environment(deployment)) as log,
    ):
        _eventually_printed(log, times=1)
        eventually(lambda: server.xpending(stream, "shop")["pending"] == 0)
        server.delete(stream)
        _eventually_printed(log, times=2)
        eventually(lambda: server.xpending(stream, "shop")["pending"] == 0)


def _receive_tasks(deployment: Deployment, folder: Path) -> None:
    command = [str(BIN / "celery"), "-A", "shop_tasks", "worker", "--pool", "solo"]
    with _running(command, folder, _environment(deployment)) as log:
        _eventually_printed(log, times=1)


def _eventually_printed(log: Path, *, times: int) -> None:
    lines = [
        f"payment_session.authorized {FROM_PYTHON[0]} None\n",
        f"payment_session.authorized {FROM_PYTHON[1]} order-18\n",
        f"payment_session.authorized {FROM_ELSEWHERE} order-19\n",
    ]
    eventually(
        lambda: all(log.read_text().count(line) >= times for line in lines),
        within=30,
        because=f"each event was printed {times} times, see {log}",
    )


@pytest.mark.parametrize(
    ("folder", "program"),
    [
        (None, PROGRAMS["enqueue.py"]),
        (
            ROOT / "examples" / "django_shop",
            "import shop.celery; shop.celery.app.send_task('payment_sessions.track', ['an-id'])",
        ),
    ],
    ids=["README", "Django"],
)
def test_sending_to_a_broker_that_hangs_ends_with_an_error(
    tmp_path: Path, folder: Path | None, program: str
):
    """Its port accepts connections and never replies. The programs say: within 5 seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder or tmp_path,
            env={"PATH": os.environ["PATH"], "REDIS_URL": f"redis://127.0.0.1:{port}/0"},
            capture_output=True,
            text=True,
            timeout=SILENT_SECONDS,
            check=False,
        )

    assert ended.returncode == 1
    assert "OperationalError: Timeout reading from" in ended.stderr


# --- as an operator


def _watch(deployment: Deployment, folder: Path) -> None:
    for command in WATCH.strip().splitlines():
        asked = subprocess.run(
            ["bash", "-ec", command],
            cwd=folder,
            env=deployment.environment | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert asked.returncode == 0, f"{command}\n{asked.stdout}{asked.stderr}"


# --- processes


def _environment(deployment: Deployment) -> dict[str, str]:
    """What a shop knows: the broker."""
    return {name: deployment.environment[name] for name in ("PATH", "REDIS_URL")}


@contextmanager
def _running(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """Run a command until the end of the context; returns where its output goes."""
    log = folder / f"{Path(command[-1]).stem if len(command) == 2 else Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"]} | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
