"""Child processes of one command: started together, watched, stopped in order, never left over."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from devkit.embedded.process_lifetime import end_with_parent

# A worker finishes what it polls within the HTTP timeout; then it is told again, and harder.
STOP_SECONDS = 25.0
BIN = Path(sys.executable).parent


class ProcessEndedError(RuntimeError):
    """A child ended that should run on."""


class Processes:
    """A context manager; children end with it, in the order they were started, and if it dies."""

    def __init__(self, environment: Mapping[str, str], *, log_folder: Path | None = None) -> None:
        self._environment = dict(environment)
        self._log_folder = log_folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a child; its output goes to the log folder, else where this process's goes."""
        output: IO[bytes] | None = None
        if self._log_folder is not None:
            output = (self._log_folder / f"{name}.log").open("wb")
            self._logs.append(output)
        self._children[name] = subprocess.Popen(  # noqa: S603 - commands of this project
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            # Ctrl-C is for the parent alone: it stops them in order.
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGTERM),  # noqa: PLW1509 - a prctl before exec
        )

    def start_celery(self, name: str, *arguments: str) -> None:
        """Start `celery -A worker …` of this virtual environment."""
        self.start(name, [str(BIN / "celery"), "-A", "worker", *arguments])

    def check(self) -> None:
        """Look whether all still run.

        Raises:
            ProcessEndedError: naming the first that does not.
        """
        for name, child in self._children.items():
            if child.poll() is not None:
                raise ProcessEndedError(f"{name} ended by itself with code {child.returncode}")

    def stop(self) -> None:
        """End each child in turn: politely, then at once."""
        for child in self._children.values():
            _stop(child)
        for log in self._logs:
            log.close()
        self._children.clear()
        self._logs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
