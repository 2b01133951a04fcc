"""A shop's own programs as real processes, each with its output in a file."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.eventually import eventually


class Program:
    """A command in a process group of its own: `kill` leaves none of its children behind.

    Started when the context is entered, once it has said `ready`; stopped at its end. It may be
    started again after `kill` or `stop`, and writes on at the end of the same file.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        ready: str,
        folder: Path,
        environment: Mapping[str, str],
        log_file: Path,
    ) -> None:
        self._command = [str(part) for part in command]
        self._ready = ready
        self._folder = folder
        self._environment = dict(environment)
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, and wait until it says once more that it is ready."""
        said_before = self.log().count(self._ready)
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(
            lambda: self._said_ready(said_before),
            within=60,
            because=f"{self._command} is ready",
        )
        return self

    def log(self) -> str:
        """Everything it wrote so far."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def kill(self) -> None:
        """SIGKILL to it and its children: no goodbye of any kind."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> int:
        """SIGTERM, and return its exit code; negative where a signal ended it."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def _said_ready(self, said_before: int) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self._command} ended\n{self.log()}")
        return self.log().count(self._ready) > said_before

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
