"""Celery's task events as Flower sees them: a real receiver on the broker."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

from celery import Celery

from tests.support.eventually import eventually

Event = dict[str, Any]


class TaskEvents:
    """Collects every event of every worker; a context manager, ready when it is entered."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._events: list[Event] = []
        self._receiver: Any = None
        self._listening = threading.Thread(target=self._listen, name="task-events", daemon=True)

    def __enter__(self) -> Self:
        self._listening.start()
        # A subscription misses what came before: one heartbeat of a worker proves that it stands.
        eventually(lambda: list(self._events), because="a worker's event is received")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._receiver.should_stop = True
        self._listening.join(10)

    def all(self) -> list[Event]:
        """Everything received so far, in order."""
        return list(self._events)

    def end_of(self, task_id: str) -> Event:
        """Wait until the task has ended; returns the event that says how."""
        return eventually(lambda: self._end(task_id), because=f"task {task_id} ends")

    def _end(self, task_id: str) -> Event | None:
        ends = {"task-succeeded", "task-failed", "task-rejected", "task-revoked"}
        return next(
            (e for e in self._events if e.get("uuid") == task_id and e["type"] in ends), None
        )

    def _listen(self) -> None:
        with self._app.connection_for_read() as connection:
            self._receiver = self._app.events.Receiver(
                connection, handlers={"*": self._events.append}
            )
            self._receiver.capture(limit=None, timeout=None, wakeup=True)
