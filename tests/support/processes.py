"""Real `celery` processes of this project, started as a deployment starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.eventually import eventually

_READY = {"worker": " ready.", "beat": "beat: Starting..."}
BIN = Path(sys.executable).parent
# Of an environment that no .env in the working directory may fill.
NO_ENV_FILE = {"PYTHON_DOTENV_DISABLED": "1"}


class CeleryProcess:
    """`celery -A worker worker|beat`; its output goes to a file that `log` reads."""

    def __init__(
        self,
        role: str,
        environment: Mapping[str, str],
        log_file: Path,
        arguments: Sequence[str] = (),
    ) -> None:
        self.role = role
        self._arguments = list(arguments)
        self._environment = dict(environment)
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> Self:
        """Start it, and wait until it says that it is ready."""
        command = [str(BIN / "celery"), "-A", "worker", self.role, "--loglevel", "DEBUG"]
        command += self._arguments
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Wait until it says that it takes work; fails at once where it has ended."""
        eventually(self._is_ready, within=60, because=f"{self.role} is ready")

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"{self.role} ended: {self.process.returncode}\n{self.log()}")
        return _READY[self.role] in self.log()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None
        return self._process

    def log(self) -> str:
        """Everything it wrote so far."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL: no goodbye of any kind."""
        self.signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, *, within: float = 30) -> int:
        """SIGTERM, and return its exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait_for_end(within=within)

    def wait_for_end(self, *, within: float = 30) -> int:
        """Return its exit code; it is killed, and the test fails, if it does not end in time."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.stop()
