"""Programs as child processes of a test, and this project's `celery` processes among them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from devkit.processes import BIN, READY, ChildProcess, celery_command

__all__ = ["BIN", "NO_ENV_FILE", "CeleryProcess", "Program"]

# Of an environment that no .env in the working directory may fill.
NO_ENV_FILE = {"PYTHON_DOTENV_DISABLED": "1"}


class Program(ChildProcess):
    """A child process that `start` waits for; a test fails if it does not end in time."""

    def start(self, *, wait: bool = True) -> Self:
        """Start it, and wait until it says that it is ready."""
        super().start()
        if wait:
            self.wait_until_ready()
        return self

    def wait_for_end(self, *, within: float = 30) -> int:
        """Return its exit code; it is killed, and the test fails, if it does not end in time."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class CeleryProcess(Program):
    """`celery -A worker worker|beat`, as a deployment starts it; `role` is which of the two."""

    def __init__(
        self,
        role: str,
        environment: Mapping[str, str],
        log_file: Path,
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__(
            celery_command("worker", role, "--loglevel", "DEBUG", *arguments),
            log_file=log_file,
            ready=READY[role],
            env=dict(environment),
        )
        self.role = role
