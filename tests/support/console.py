"""The console as an operator runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.eventually import eventually
from tests.support.flower import free_port
from tests.support.processes import BIN, NO_ENV_FILE, Program

LOGIN = "operator:a-made-up-password"


@contextmanager
def console(environment: Mapping[str, str], log_file: Path) -> Iterator[str]:
    """Run `session-worker console`; returns its origin once it serves."""
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    with Program(
        [BIN / "session-worker", "console", f"--port={port}"],
        log_file=log_file,
        env={**NO_ENV_FILE, "CONSOLE_BASIC_AUTH": LOGIN, **environment},
    ) as process:
        eventually(lambda: _serves(origin, process), within=30, because="it serves")
        yield origin


def _serves(origin: str, process: Program) -> bool:
    assert process.is_running, process.log()
    try:
        return httpx.get(f"{origin}/healthcheck", trust_env=False).is_success
    except httpx.TransportError:
        return False
