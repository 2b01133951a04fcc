"""The first thing one would write: a Celery task per poll, which sends itself again by a countdown.

It keeps its HTTP connections and its database connections; it has no lease, no group, no event.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import httpx
from celery import Celery, Task
from sqlalchemy import Engine, create_engine, text

COUNTDOWN_SECONDS = 2
FINAL = {"COMPLETED", "CANCELLED", "DISABLED"}

app = Celery("prefork", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    task_default_queue="prefork-baseline",
    broker_connection_retry_on_startup=True,
    worker_send_task_events=True,
)

RECORD = text("""
    UPDATE payment_sessions
    SET status = :status, poll_count = poll_count + 1, last_polled_at = now(),
        last_read_at = now(), next_poll_at = now() + make_interval(secs => :wait)
    WHERE session_id = :session_id
""")


@cache
def _client() -> httpx.Client:
    """One for each process."""
    credentials = (os.environ["KLARNA_USERNAME"], os.environ["KLARNA_PASSWORD"])
    return httpx.Client(auth=credentials, timeout=10)


@cache
def _engine() -> Engine:
    """One for each process."""
    return create_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"))


@app.task(bind=True, name="prefork.poll", max_retries=None)
def poll(self: Task, session_id: str) -> None:
    """Read the session, write what it says, and come again unless it has ended."""
    url = f"{os.environ['KLARNA_BASE_URL']}/hpp/v1/sessions/{session_id}"
    answer: dict[str, Any] = _client().get(url).raise_for_status().json()
    with _engine().begin() as connection:
        connection.execute(
            RECORD,
            {
                "status": answer["status"],
                "wait": COUNTDOWN_SECONDS,
                "session_id": session_id,
            },
        )
    if answer["status"] not in FINAL:
        raise self.retry(countdown=COUNTDOWN_SECONDS)
