"""`.env` in the working directory: read alike by every entry point; and secrets from files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.command import Ran
from tests.support.deployment import Deployment
from tests.support.flower import free_port
from tests.support.processes import BIN, NO_ENV_FILE, Program

ROOT = Path(__file__).parents[2]
MACHINE = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
CANARY = "canary-3b9e"
ALEMBIC = ("alembic", "-c", str(ROOT / "pyproject.toml"), "current")
# What reads settings; none of them needs a process of ours.
COMMANDS = [
    ("celery", "-A", "worker", "report"),
    ALEMBIC,
    ("session-worker", "list"),
    ("honcho", "-f", "Procfile", "run", *ALEMBIC),
]


@pytest.fixture
def settings(environment: dict[str, str]) -> dict[str, str]:
    """A deployment's own settings, nothing of the machine's."""
    return {n: v for n, v in environment.items() if n not in {"PATH", "HOME", *NO_ENV_FILE}}


def write(folder: Path, settings: Mapping[str, str], *lines: str) -> None:
    written = [f"{name}={value}" for name, value in settings.items()]
    (folder / ".env").write_text("\n".join([*written, *lines, ""]))
    (folder / "Procfile").write_text((ROOT / "Procfile").read_text())


def run(folder: Path, *command: str, **environment: str) -> Ran:
    program, *arguments = command
    ended = subprocess.run(
        [BIN / program, *arguments],
        cwd=folder,
        env=MACHINE | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_reads_it(settings: dict[str, str], tmp_path: Path, command: tuple[str, ...]):
    write(tmp_path, settings)

    ran = run(tmp_path, *command)

    assert ran.code == 0, ran.err
    assert "Wrong settings" not in ran.out + ran.err


@pytest.mark.parametrize("command", COMMANDS[:3], ids=lambda command: command[0])
def test_the_processs_environment_wins(
    settings: dict[str, str], tmp_path: Path, command: tuple[str, ...]
):
    urls = ("DATABASE_URL", "REDIS_URL")
    write(tmp_path, settings | dict.fromkeys(urls, "nonsense://"))

    ran = run(tmp_path, *command, **{name: settings[name] for name in urls})

    assert ran.code == 0, ran.err


@pytest.mark.parametrize("command", COMMANDS[:3], ids=lambda command: command[0])
def test_tests_demo_and_benchmarks_switch_it_off(
    settings: dict[str, str], tmp_path: Path, command: tuple[str, ...]
):
    write(tmp_path, settings)

    ran = run(tmp_path, *command, **NO_ENV_FILE)

    assert ran.code != 0
    assert "_URL: is missing" in ran.out + ran.err


@pytest.mark.parametrize("command", COMMANDS[:3], ids=lambda command: command[0])
def test_one_that_cannot_be_read_ends_a_process_in_one_line(
    tmp_path: Path, command: tuple[str, ...]
):
    (tmp_path / ".env").write_bytes(b"REDIS_URL=\xff")

    ran = run(tmp_path, *command)

    assert ran.code == 2
    assert ran.err == "Invalid settings:\n  .env: cannot be read: it is not text in UTF-8\n"


def test_worker_beat_and_flower_run_with_it_alone_and_secrets_from_files(
    deployment: Deployment, settings: dict[str, str], sandbox: SandboxClient, tmp_path: Path
):
    port = free_port()
    secrets = ("DATABASE_URL", "REDIS_URL", "KLARNA_PASSWORD", "TOKEN_ENCRYPTION_KEYS")
    login = ("operator", CANARY)
    files = {name: settings.pop(name) for name in secrets} | {"FLOWER_BASIC_AUTH": ":".join(login)}
    for name, value in files.items():
        (tmp_path / name).write_text(value + "\n")
        settings[f"{name}_FILE"] = str(tmp_path / name)
    settings |= {"FLOWER_ADDRESS": "127.0.0.1", "FLOWER_PORT": str(port)}
    write(tmp_path, settings, "EVENT_SINK=webhook")
    created = sandbox.create_session(steps=[[0.2, "COMPLETED"]], expires_in=600)

    def start(role: str, ready: str) -> Program:
        return Program(
            [BIN / "celery", "-A", "worker", role],
            ready=ready,
            cwd=tmp_path,
            env=MACHINE,
            log_file=tmp_path / f"{role}.log",
        )

    worker, beat = start("worker", "setting_ignored"), start("beat", "setting_ignored")
    with worker, beat, start("flower", "Visit me at"), httpx.Client(trust_env=False) as visitor:
        deployment.track(created["session_id"])
        deployment.wait_for_outcomes(created["session_id"])
        url = f"http://127.0.0.1:{port}/workers"
        assert visitor.get(url).status_code == 401
        assert visitor.get(url, auth=login).status_code == 200
    for log in (worker.log(), beat.log()):
        assert log.count("setting_ignored") == 1
        assert "EVENT_SINKS" in log
    deployment.assert_invariants()


def test_flower_ends_in_one_line_where_its_logins_file_is_missing(redis_url: str, tmp_path: Path):
    ran = run(
        tmp_path,
        *("celery", "-A", "worker", "flower", "--port=0"),
        REDIS_URL=redis_url,
        FLOWER_BASIC_AUTH_FILE=CANARY,
        **NO_ENV_FILE,
    )

    assert ran.code == 2
    assert ran.err.endswith(
        "Invalid settings:\n  FLOWER_BASIC_AUTH_FILE: cannot be read: No such file or directory\n"
    )
    assert CANARY not in ran.out + ran.err


def test_check_tells_lines_that_honcho_reads_otherwise_and_the_real_one_does(
    settings: dict[str, str], tmp_path: Path
):
    write(tmp_path, settings, f"CELERY_EVENT_TASK={CANARY}\\a", "export EVENT_STREAM=events")

    ran = run(tmp_path, "session-worker", "check")

    task, stream = (line for line in ran.out.splitlines() if ".env: line" in line)
    assert task.startswith("warn")
    number = len(settings) + 1
    assert f".env: line {number}: honcho reads CELERY_EVENT_TASK otherwise" in task
    assert "write CELERY_EVENT_TASK='value' in single quotes" in task
    assert f".env: line {number + 1}: honcho reads EVENT_STREAM otherwise" in stream
    assert CANARY not in ran.out + ran.err
    assert ran.code == 0, ran.out

    shown = run(tmp_path, "honcho", "run", "printenv", "CELERY_EVENT_TASK")
    assert shown.out.strip() == f"{CANARY}a"
    write(tmp_path, settings, f"CELERY_EVENT_TASK='{CANARY}\\a'", "EVENT_STREAM=events")
    assert run(tmp_path, "honcho", "run", "printenv", "CELERY_EVENT_TASK").out == f"{CANARY}\\a\n"
    assert ".env: line" not in run(tmp_path, "session-worker", "check").out


def test_it_is_found_in_the_working_directory_only(settings: dict[str, str], tmp_path: Path):
    write(tmp_path, settings)
    (below := tmp_path / "below").mkdir()

    ran = run(below, "session-worker", "list")

    assert ran.code == 2
    assert "DATABASE_URL: is missing" in ran.err


def test_a_running_ups_servers_are_found_by_all(settings: dict[str, str], tmp_path: Path):
    """What `up` writes, as a file of its own."""
    (tmp_path / ".local").mkdir()
    write(tmp_path / ".local", settings)
    (tmp_path / ".local" / ".env").rename(tmp_path / ".local" / "environment")

    for command in COMMANDS[:3]:
        ran = run(tmp_path, *command)
        assert ran.code == 0, ran.err
