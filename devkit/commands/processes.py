"""Child processes of one command: started together, checked, stopped in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from devkit.processes import READY, ChildProcess, celery_command

# A worker finishes its polls within the HTTP timeout.
STOP_SECONDS = 25.0


class ProcessEndedError(RuntimeError):
    """A child process ended by itself."""


class Processes:
    """A context manager; children end with it, in the order they were started, and if it dies."""

    def __init__(self, environment: Mapping[str, str], *, log_folder: Path | None = None) -> None:
        self._environment = dict(environment)
        self._log_folder = log_folder
        self._children: dict[str, ChildProcess] = {}

    def start(self, name: str, command: Sequence[str], *, ready: str = "") -> ChildProcess:
        """Start a child; without a log folder it writes to this process's output."""
        child = ChildProcess(
            command,
            log_file=self._log_folder and self._log_folder / f"{name}.log",
            ready=ready,
            ends_with_parent=True,
            env=self._environment,
        )
        self._children[name] = child.start()
        return child

    def start_celery(self, name: str, *arguments: str) -> ChildProcess:
        """Start `celery -A worker …` of this virtual environment."""
        return self.start(name, celery_command("worker", *arguments), ready=READY.get(name, ""))

    def check(self) -> None:
        """Check that all still run.

        Raises:
            ProcessEndedError: One has ended; the message names the first.
        """
        for name, child in self._children.items():
            if not child.is_running:
                code = child.process.returncode
                raise ProcessEndedError(f"{name} ended by itself with code {code}")

    def stop(self) -> None:
        """Stop each child in turn; kill it if it does not end in time."""
        for child in self._children.values():
            child.stop(within=STOP_SECONDS)
        self._children.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
