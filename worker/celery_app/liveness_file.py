"""A file whose age says how long ago this process made progress; Kubernetes' probes look at it.

A fault of Postgres, the broker or Klarna does not let it age: a restart would heal none of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

# deploy/kubernetes restarts a process whose file is 90 seconds old.
LOOK_EVERY_SECONDS = 10.0


def touch(file: Path | None) -> None:
    """Note progress; nothing where PROGRESS_FILE is not set."""
    if file is None:
        return
    try:
        file.touch()
    except OSError as error:
        log.warning("progress_file_not_written", error=error.strerror)


class LivenessFile:
    """Looks from a task thread of `pool`, so a pool that is stuck lets the file age as well."""

    def __init__(
        self,
        file: Path,
        pool: Any,  # noqa: ANN401 - Celery is untyped
        look: Callable[[], bool],
        *,
        every_seconds: float = LOOK_EVERY_SECONDS,
    ) -> None:
        self._file = file
        self._pool = pool
        self._look = look
        self._every_seconds = every_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    def start(self) -> None:
        """Begin to look; not on the hub's timer, which Celery resets with each connection."""
        touch(self._file)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look under way is left alone."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(self._every_seconds):
            try:
                self._pool.apply_async(self._note).wait()
            except RuntimeError:
                # The pool takes nothing more: the worker ends.
                return

    def _note(self) -> None:
        if self._look():
            touch(self._file)
