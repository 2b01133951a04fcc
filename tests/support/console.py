"""The console as an operator runs it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.eventually import eventually
from tests.support.flower import free_port
from tests.support.processes import BIN, NO_ENV_FILE

LOGIN = "operator:a-made-up-password"


@contextmanager
def console(environment: Mapping[str, str], log_file: Path) -> Iterator[str]:
    """Run `session-worker console`; returns its origin once it serves."""
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [BIN / "session-worker", "console", f"--port={port}"],
            env={**NO_ENV_FILE, "CONSOLE_BASIC_AUTH": LOGIN, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        eventually(lambda: _serves(origin, process, log_file), within=30, because="it serves")
        yield origin
    finally:
        process.terminate()
        process.wait(30)


def _serves(origin: str, process: subprocess.Popen[bytes], log_file: Path) -> bool:
    assert process.poll() is None, log_file.read_text()
    try:
        return httpx.get(f"{origin}/healthcheck", trust_env=False).is_success
    except httpx.TransportError:
        return False
