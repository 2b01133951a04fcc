"""bin/demo as a newcomer runs it: correct, in time, and nothing is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

from tests.support.eventually import eventually
from tests.support.processes import BIN

# What a machine has, and nothing of a deployment: the demo must not need it.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def _left_over(folder: Path) -> list[str]:
    """Return the processes that were started with this temporary folder."""
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"TMPDIR={folder}".encode() in environment or str(folder).encode() in command:
            left.append(command.replace(b"\0", b" ").decode())
    return left


def test_the_demo_shows_every_invariant_holding_and_leaves_nothing(temporary: Path):
    (deployment := temporary.parent / "deployment").mkdir()
    wrong = "BROKER_URL=redis://127.0.0.1:9/0\nCELERY_EVENT_QUEUE=payment-sessions\n"
    (deployment / ".env").write_text(wrong)

    ran = subprocess.run(
        [BIN / "session-worker", "demo"],
        env=ENVIRONMENT | {"TMPDIR": str(temporary)},
        cwd=deployment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "All invariants hold" in ran.stdout
    assert list(temporary.iterdir()) == []
    assert _left_over(temporary) == []


def test_ctrl_c_stops_and_removes_everything(temporary: Path):
    out = temporary.parent / "out"
    with (
        out.open("wb") as written,
        subprocess.Popen(
            [BIN / "session-worker", "demo"],
            env=ENVIRONMENT | {"TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        ) as demo,
    ):
        eventually(lambda: "WAITING" in out.read_text(), within=60, because="the demo runs")
        demo.send_signal(signal.SIGINT)
        code = demo.wait(30)

    assert (code, "Interrupted" in out.read_text()) == (130, True)
    assert list(temporary.iterdir()) == []
    assert _left_over(temporary) == []


_ANY_PORTS = ("--flower-port", "0", "--console-port", "0")


def test_up_runs_everything_and_stops_in_order(temporary: Path):
    state = temporary / "state"
    environment = ENVIRONMENT | {
        "TMPDIR": str(temporary),
        "KLARNA_USERNAME": "user",
        "KLARNA_PASSWORD": "password",
    }
    out = temporary.parent / "out"
    command = [BIN / "session-worker", "up", "--state", state, *_ANY_PORTS]
    with (
        out.open("wb") as written,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            cwd=temporary,
        ) as up,
    ):
        eventually(
            lambda: (
                " ready." in out.read_text() and "(login: CONSOLE_BASIC_AUTH)" in out.read_text()
            ),
            within=60,
            because="the worker is ready and the console serves",
        )
        second = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        environment_file = (state / "environment").read_text()
        up.send_signal(signal.SIGTERM)
        code = up.wait(40)

    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == (
        f"--state: another `session-worker up` is running in {state}. Name another folder.\n"
    )
    assert "DATABASE_URL='postgresql://" in environment_file
    assert (code, "Stopping." in out.read_text()) == (0, True)
    assert (state / "token-key").stat().st_mode & 0o777 == 0o600
    assert not (state / "environment").exists()
    assert _left_over(temporary) == []


def test_up_with_a_postgres_that_is_not_there_says_so_in_one_line(temporary: Path):
    """A newcomer who copied .env.example and filled in the credentials: its URLs are examples."""
    ran = subprocess.run(
        [BIN / "session-worker", "up", *_ANY_PORTS],
        env=ENVIRONMENT
        | {
            "DATABASE_URL": "postgresql://klarna:canary@127.0.0.1:9/klarna",
            "REDIS_URL": "redis://127.0.0.1:9/0",
            "KLARNA_USERNAME": "user",
            "KLARNA_PASSWORD": "password",
            "TOKEN_ENCRYPTION_KEYS": "",
            "FLOWER_BASIC_AUTH": "",
        },
        cwd=temporary,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert ran.stderr.startswith("Postgres is not there: is it up, ")
    assert "Take DATABASE_URL out of .env, and `up` brings a Postgres of its own." in ran.stderr
    assert "canary" not in ran.stdout + ran.stderr


def test_up_with_what_it_cannot_have_says_so_in_one_line_and_starts_nothing(temporary: Path):
    """Another `up` has the port; a folder cannot be made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for option, value in (
            ("--flower-port", port),
            ("--console-port", port),
            ("--state", "/proc/no"),
        ):
            ran = subprocess.run(
                [BIN / "session-worker", "up", *_ANY_PORTS, option, value],
                env=ENVIRONMENT,
                cwd=temporary,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

            assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
            assert ran.stderr.startswith(f"{option}: cannot ")
    assert list(temporary.iterdir()) == []
