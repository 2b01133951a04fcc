"""The tasks and services over real Postgres and Redis, in this process: one poll is one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests.support.stored import Stored
from tests.support.wired import deployed
from worker.bootstrap.worker import open_worker
from worker.celery_app import intake
from worker.celery_app.runtime import Runtime

# Longer than any poll of these tests.
LEASE_SECONDS = 60


class InProcess:
    """`track` is the task a shop enqueues; `poll` is what beat and a worker do with a row."""

    def __init__(self, runtime: Runtime, stored: Stored, origin: str) -> None:
        self.runtime = runtime
        self.stored = stored
        self.origin = origin

    def track(self, *given: object, **named: object) -> None:
        """Run the body of `payment_sessions.track`."""
        from worker import tasks  # noqa: PLC0415 - Celery reads the environment at import

        tasks.track.run(*given, **named)

    def insert(self, session_id: str = "", **columns: object) -> str:
        """Insert an unchecked row, as a shop may; return its id."""
        session_id = session_id or uuid4().hex
        url = f"{self.origin}/hpp/v1/sessions/{session_id}"
        return self.stored.add_session(session_id, **({"session_url": url} | columns))

    def poll(self, *session_ids: str) -> list[dict[str, Any]]:
        """Lease these sessions and poll them in one task; return their rows."""
        lease_id = uuid4()
        self.stored.rows(
            "UPDATE payment_sessions SET lease_id = %s,"
            " lease_expires_at = clock_timestamp() + %s * interval '1 s'"
            " WHERE session_id = ANY(%s)",
            lease_id,
            LEASE_SECONDS,
            list(session_ids),
        )
        self.runtime.call(self.runtime.services.poll.poll, list(session_ids), lease_id)
        rows = [self.stored.session(session_id) for session_id in session_ids]
        assert [row["poll_count"] for row in rows] == [1] * len(rows), "each was polled"
        return rows

    def forget(self) -> None:
        """Empty the tables, so that tests do not affect each other."""
        for table in ("payment_sessions", "accounts", "refused_messages"):
            self.stored.rows(f"DELETE FROM {table}")  # noqa: S608 - one of these


@contextmanager
def opened(environment: Mapping[str, str]) -> Iterator[InProcess]:
    """Yield the services of a worker with this environment; the bodies of tasks use them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        settings, app = deployed(environment, monkeypatch)
        from worker import tasks  # noqa: PLC0415 - as above

        runtime = Runtime()
        monkeypatch.setattr(tasks, "runtime", runtime)
        runtime.start(open_worker(settings, app, take_in_again=intake.take_in_again))
        stored = Stored(environment["DATABASE_URL"])
        try:
            yield InProcess(runtime, stored, environment["KLARNA_BASE_URL"])
        finally:
            stored.close()
            runtime.close()
            app.close()
