"""A whole deployment on this machine, seen as a shop and an operator see it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from cryptography.fernet import Fernet
from sqlalchemy import create_engine

from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME
from tests.support.command import session_worker
from tests.support.eventually import eventually
from tests.support.processes import NO_ENV_FILE, CeleryProcess
from tests.support.published import unpublished
from worker.adapters.postgres.reports.invariants import (
    broken_delivery_invariants,
    broken_state_invariants,
)


def environment_of(database_url: str, redis_url: str, *, klarna_url: str) -> dict[str, str]:
    """A deployment's whole environment: nothing of the machine's but PATH and HOME."""
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **NO_ENV_FILE,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "KLARNA_USERNAME": DEFAULT_USERNAME,
        "KLARNA_PASSWORD": DEFAULT_PASSWORD,
        "KLARNA_BASE_URL": klarna_url,
        "KLARNA_ALLOWED_ORIGINS": klarna_url,
        "TOKEN_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "POLL_EXPIRY_GRACE_SECONDS": "1",
        # The shipped policy lets a session be for half a minute at first; no test waits so long.
        "POLL_MAX_INTERVAL_SECONDS": "2",
    }


class Deployment:
    """Workers and beats over real servers; `environment` is what each process gets."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self._folder = folder
        self._processes: list[CeleryProcess] = []
        # As a shop has it: an app of its own that imports nothing of ours.
        broker = environment.get("BROKER_URL", environment["REDIS_URL"])
        self.shop = Celery("shop", broker=broker, set_as_current=False)
        # What waits for a fact asks dozens of times: on one connection, another where that is cut.
        self._database = create_engine(
            environment["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"),
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
            connect_args={"prepare_threshold": None, "options": "-c timezone=UTC"},
        )

    # --- processes

    def start(
        self, role: str, *, wait: bool = True, arguments: Sequence[str] = (), **overrides: str
    ) -> CeleryProcess:
        """Start one more worker or beat; `overrides` are environment variables of its own."""
        log_file = self._folder / f"{role}-{len(self._processes)}.log"
        process = CeleryProcess(role, self.environment | overrides, log_file, arguments)
        self._processes.append(process)
        return process.start(wait=wait)

    def start_all(self, *roles: str) -> list[CeleryProcess]:
        """Start several side by side, and wait until each is ready."""
        started = [self.start(role, wait=False) for role in roles]
        for process in started:
            process.wait_until_ready()
        return started

    def close(self) -> None:
        """Stop every process, all at a time."""
        running = [process for process in self._processes if process.process.poll() is None]
        for process in running:
            process.signal(signal.SIGTERM)
        for process in running:
            process.wait_for_end()
        self.shop.close()
        self._database.dispose()

    def logs(self) -> str:
        """What every process wrote."""
        return "\n".join(process.log() for process in self._processes)

    # --- as a shop

    def track(self, session_id: str, **arguments: object) -> str:
        """Enqueue a payment session, the way the README says; returns the task's id."""
        return self.send("payment_sessions.track", session_id, **arguments)

    def send(self, task: str, *args: object, **kwargs: object) -> str:
        """Enqueue a task of the contract with whatever arguments; returns its id."""
        sent = self.shop.send_task(task, args=args, kwargs=kwargs, queue="payment-sessions")
        return sent.id

    def insert(self, *session_ids: str, account: str = "default") -> None:
        """Track sessions in one transaction of the shop's own, without any message."""
        url = f"{self.environment['KLARNA_BASE_URL']}/hpp/v1/sessions/"
        self.query(
            "INSERT INTO payment_sessions (session_id, account, kind, session_url)"
            " SELECT id, %s, 'hpp', %s || id FROM unnest(%s::text[]) AS id",
            account,
            url,
            list(session_ids),
        )

    def received(self) -> list[dict[str, Any]]:
        """The CloudEvents in the stream, in order, repeats included."""
        stream = self.environment.get("EVENT_STREAM", "payment-session-events")
        with redis.Redis.from_url(self.environment["REDIS_URL"]) as client:
            return [json.loads(entry[b"event"]) for _, entry in client.xrange(stream)]

    def received_of(self, session_id: str) -> list[dict[str, Any]]:
        """The CloudEvents of one session, in order, each id once; waits until all are there."""
        eventually(
            lambda: (
                not self.query(
                    "SELECT * FROM outbox_deliveries"
                    " WHERE session_id = %s AND delivered_at IS NULL AND dead_at IS NULL",
                    session_id,
                )
            ),
            because=f"the events of {session_id} are delivered",
        )
        events = {event["id"]: event for event in self.received()}
        return [event for event in events.values() if event["subject"] == session_id]

    # --- as an operator

    def replay(self, session_id: str) -> None:
        """Send the events of a session again, to every sink; waits until they are taken."""
        (before,) = self.query("SELECT clock_timestamp() AS now")
        options = ("--session", session_id, "--yes", "--without-token")
        ran = session_worker(self.environment, "events", "replay", *options)
        assert ran.code == 0, ran.err
        untaken = (
            "SELECT * FROM outbox_deliveries WHERE session_id = %s"
            " AND (delivered_at IS NULL OR delivered_at < %s)"
        )
        eventually(
            lambda: not self.query(untaken, session_id, before["now"]),
            because=f"the events of {session_id} are taken again",
        )

    def query(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """Ask the database; times come back in UTC."""
        with self._database.connect() as connection:
            found = connection.exec_driver_sql(statement, parameters)
            return [dict(row) for row in found.mappings()] if found.returns_rows else []

    def session(self, session_id: str) -> dict[str, Any] | None:
        """The stored payment session, or None."""
        rows = self.query("SELECT * FROM payment_sessions WHERE session_id = %s", session_id)
        return rows[0] if rows else None

    def refused(self, task_id: str) -> dict[str, Any]:
        """The refused message with this task id; waits for it."""
        return eventually(
            lambda: self.query("SELECT * FROM refused_messages WHERE task_id = %s", task_id),
            within=60,
            because="the message is kept",
        )[0]

    def transitions(self, session_id: str) -> list[str]:
        """The statuses it went through, in order."""
        rows = self.query(
            "SELECT to_status FROM status_transitions WHERE session_id = %s ORDER BY sequence",
            session_id,
        )
        return [row["to_status"] for row in rows]

    def wait_for_outcomes(self, *session_ids: str, within: float = 30) -> dict[str, str]:
        """Wait until each session is finished; returns the outcomes."""
        eventually(
            lambda: (
                not self.query(
                    "SELECT session_id, status, last_error, next_poll_at, lease_expires_at"
                    " FROM payment_sessions WHERE session_id = ANY(%s) AND outcome IS NULL"
                    " UNION ALL SELECT missing, 'not tracked', NULL, NULL, NULL"
                    " FROM unnest(%s::text[]) AS missing"
                    " WHERE missing NOT IN (SELECT session_id FROM payment_sessions)",
                    list(session_ids),
                    list(session_ids),
                )
            ),
            within=within,
            because="every session is finished",
        )
        rows = self.query(
            "SELECT session_id, outcome FROM payment_sessions WHERE session_id = ANY(%s)",
            list(session_ids),
        )
        return {row["session_id"]: row["outcome"] for row in rows}

    def wait_for_confirmation(self, session_id: str, order_id: str) -> None:
        """Wait until the shop's word that this order is placed has arrived."""
        eventually(
            lambda: (
                (stored := self.session(session_id)) and stored["confirmed_order_id"] == order_id
            ),
            because=f"{session_id} is confirmed",
        )

    def assert_invariants(self) -> None:
        """Wait until everything is delivered, then check every promise of the design."""
        assert not self.broken_promises(self.received)

    def broken_promises(
        self, received: Callable[[], list[dict[str, Any]]], *, within: float = 15
    ) -> list[str]:
        """One line for each broken promise, once everything is delivered.

        `received` answers what a consumer has then been given.
        """
        eventually(
            lambda: (
                not self.query(
                    "SELECT * FROM outbox_deliveries WHERE delivered_at IS NULL AND dead_at IS NULL"
                )
            ),
            within=within,
            because="the outbox is empty",
        )
        events = received()
        with self._database.connect() as connection:
            broken = broken_state_invariants(connection)
            broken += broken_delivery_invariants(connection, events)
        stored = [row["payload"] for row in self.query("SELECT payload FROM outbox_messages")]
        return broken + [fault for event in (*stored, *events) for fault in unpublished(event)]


@contextmanager
def deployment(environment: dict[str, str], folder: Path) -> Iterator[Deployment]:
    """A deployment that is stopped at the end, however the test ends."""
    deployed = Deployment(environment, folder)
    try:
        yield deployed
    finally:
        deployed.close()
