"""What every baseline does with one session: read, write, stop when it is final."""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import Any

import httpx
import psycopg
from sqlalchemy import Engine, create_engine, text

INTERVAL_SECONDS = 2
FINAL = {"COMPLETED", "CANCELLED", "DISABLED"}
DATABASE_URL = os.environ["DATABASE_URL"]
REDIS_URL = os.environ["REDIS_URL"]
# As SQLAlchemy has it, for psycopg 3.
ENGINE_URL = DATABASE_URL.replace("postgresql:", "postgresql+psycopg:")
CREDENTIALS = (os.environ["KLARNA_USERNAME"], os.environ["KLARNA_PASSWORD"])
TIMEOUT_SECONDS = 10

RECORD = text("""
    UPDATE payment_sessions
    SET status = :status, poll_count = poll_count + 1, last_polled_at = now(),
        last_read_at = now(), next_poll_at = now() + make_interval(secs => :wait)
    WHERE session_id = :session_id
""")

_local = threading.local()


def session_url(session_id: str) -> str:
    """Return the URL of a session."""
    return f"{os.environ['KLARNA_BASE_URL']}/hpp/v1/sessions/{session_id}"


def recorded(session_id: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of `RECORD`."""
    return {"status": answer["status"], "wait": INTERVAL_SECONDS, "session_id": session_id}


def read_and_record(session_id: str) -> bool:
    """Read the session and write what it says, in a thread; return whether it has ended."""
    answer: dict[str, Any] = _client().get(session_url(session_id)).raise_for_status().json()
    with _engine().begin() as connection:
        connection.execute(RECORD, recorded(session_id, answer))
    return answer["status"] in FINAL


def tracked_ids() -> list[str]:
    """Return the ids of all sessions."""
    with psycopg.connect(DATABASE_URL) as connection:
        rows = connection.execute("SELECT session_id FROM payment_sessions").fetchall()
    return [session_id for (session_id,) in rows]


def _client() -> httpx.Client:
    """One for each thread: a pool of httpx that many threads share costs more."""
    if not hasattr(_local, "client"):
        _local.client = httpx.Client(auth=CREDENTIALS, timeout=TIMEOUT_SECONDS)
    client: httpx.Client = _local.client
    return client


@cache
def _engine() -> Engine:
    """One for each process, with a connection for each of its threads."""
    return create_engine(ENGINE_URL, pool_size=64)
