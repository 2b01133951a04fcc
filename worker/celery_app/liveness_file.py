"""A file whose age says how long ago this process made progress; Kubernetes' probes read it.

It is touched during an outage of Postgres, the broker or Klarna, too: a restart would not help.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from celery import signals

log = structlog.get_logger(__name__)

# deploy/kubernetes restarts a process whose file is 90 seconds old.
CHECK_EVERY_SECONDS = 10.0


def touch(file: Path | None) -> None:
    """Note progress. `file` is None where PROGRESS_FILE is not set."""
    if file is None:
        return
    try:
        file.touch()
    except OSError as error:
        log.warning("progress_file_not_written", error=error.strerror)


class LivenessFile:
    """Touches the file, where one is set, while `is_live` says so.

    It is called in a task thread of `pool`: when no thread becomes free, the file ages.
    """

    def __init__(
        self,
        file: Path | None,
        pool: Any,  # noqa: ANN401 - Celery is untyped
        is_live: Callable[[], bool],
        *,
        every_seconds: float = CHECK_EVERY_SECONDS,
    ) -> None:
        self._file = file
        self._pool = pool
        self._is_live = is_live
        self._every_seconds = every_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="liveness", daemon=True)

    def start(self) -> None:
        """Touch the file, then start to check."""
        touch(self._file)
        self._thread.start()

    def stop(self) -> None:
        """Stop to check, without waiting for a running check."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(self._every_seconds):
            try:
                self._pool.apply_async(self._check).wait()
            except RuntimeError:
                # The pool is closed: the worker ends.
                return

    def _check(self) -> None:
        if self._is_live():
            touch(self._file)


class ReceivedTasks:
    """Counts the tasks that this worker receives."""

    def __init__(self) -> None:
        self.count = 0

    def start(self) -> None:
        """Start to count."""
        signals.task_received.connect(self._add_one)

    def stop(self) -> None:
        """Stop to count."""
        signals.task_received.disconnect(self._add_one)

    def _add_one(self, **_: object) -> None:
        self.count += 1
