"""Inserts and reads rows for tests, by plain SQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

ORIGIN = "https://klarna.test"


class Stored:
    """One connection of the test's own to its database; every statement commits by itself."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True, row_factory=dict_row)
        self._connection.execute("SET timezone = 'UTC'")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # --- what is there

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Whatever the query finds."""
        cursor = self._connection.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []

    def value(self, query: str, *parameters: object) -> Any:  # noqa: ANN401 - whatever is there
        """The one value that the query finds."""
        (row,) = self.rows(query, *parameters)
        (value,) = row.values()
        return value

    def session(self, session_id: str) -> dict[str, Any]:
        """The stored payment session."""
        (row,) = self.rows("SELECT * FROM payment_sessions WHERE session_id = %s", session_id)
        return row

    def account(self, name: str = "default") -> dict[str, Any] | None:
        """The stored state of an account, or None."""
        rows = self.rows("SELECT * FROM accounts WHERE account = %s", name)
        return rows[0] if rows else None

    def statuses(self, session_id: str) -> list[str]:
        """The statuses a session went through."""
        rows = self.rows(
            "SELECT to_status FROM status_transitions WHERE session_id = %s ORDER BY sequence",
            session_id,
        )
        return [row["to_status"] for row in rows]

    def delivery(self, event_id: UUID, sink: str = "redis_stream") -> dict[str, Any]:
        """The stored delivery of one message to one sink."""
        (row,) = self.rows(
            "SELECT * FROM outbox_deliveries WHERE event_id = %s AND sink = %s", event_id, sink
        )
        return row

    # --- what is to be there

    def add(self, table: str, **columns: object) -> None:
        """Insert a row as it stands."""
        self._connection.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
            ),
            list(columns.values()),
        )

    def add_session(
        self, session_id: str, *, account: str = "default", due_in: float = 0, **columns: object
    ) -> str:
        """Insert an open payment session that is due in so many seconds; returns its id."""
        url = f"{ORIGIN}/hpp/v1/sessions/{session_id}"
        defaults = {"account": account, "kind": "hpp", "session_url": url}
        self.add("payment_sessions", **(defaults | {"session_id": session_id} | columns))
        if columns.get("outcome") is None:
            self.put_due(session_id, due_in)
        return session_id

    def add_account(self, name: str = "default", *, paused_for: float = 0, **columns: object):
        """Insert an account's state, paused for so many seconds from now."""
        self.add("accounts", **({"account": name, "version": 1} | columns))
        if paused_for:
            self._connection.execute(
                "UPDATE accounts SET paused_until = clock_timestamp() + %s * interval '1 s'"
                " WHERE account = %s",
                [paused_for, name],
            )

    def add_process(self, role: str, *, seen_ago: float = 0, **columns: object) -> UUID:
        """Insert a worker or beat that was seen so many seconds ago; returns its id."""
        process_id = uuid4()
        empty: dict[str, object] = {"queues": [], "accounts": []}
        made = {"host": "a-host", "pid": 1, "version": "0.1.0"} | empty | columns
        self.add("processes", process_id=process_id, role=role, **made)
        self._connection.execute(
            "UPDATE processes SET seen_at = now() - %s * interval '1 s' WHERE process_id = %s",
            [seen_ago, process_id],
        )
        return process_id

    def add_worker_and_beat(self, *, seen_ago: float = 0) -> None:
        """Insert one of each, as a running deployment has them."""
        self.add_process("worker", seen_ago=seen_ago)
        self.add_process("beat", seen_ago=seen_ago)

    def add_message(
        self,
        session_id: str,
        sequence: int,
        *,
        sinks: tuple[str, ...] = ("redis_stream",),
        event_type: str = "payment_session.cancelled",
        due_in: float = 0,
    ) -> UUID:
        """Insert an outbox message with a delivery for each sink; returns its id."""
        event_id = uuid4()
        payload = {
            "id": str(event_id),
            "type": event_type,
            "subject": session_id,
            "data": {"session_id": session_id},
        }
        shared = {"event_id": event_id, "session_id": session_id, "sequence": sequence}
        self.add("outbox_messages", **shared, event_type=event_type, payload=Jsonb(payload))
        for sink in sinks:
            self.add("outbox_deliveries", **shared, sink=sink)
        self._connection.execute(
            "UPDATE outbox_deliveries"
            " SET next_attempt_at = clock_timestamp() + %s * interval '1 s' WHERE event_id = %s",
            [due_in, event_id],
        )
        return event_id

    # --- time passing

    def put_due(self, session_id: str, due_in: float = 0) -> None:
        """Make a payment session due in so many seconds, before now if negative."""
        self._connection.execute(
            "UPDATE payment_sessions"
            " SET next_poll_at = clock_timestamp() + %s * interval '1 s' WHERE session_id = %s",
            [due_in, session_id],
        )

    def run_out(self, *session_ids: str) -> None:
        """Let the leases of these sessions, or of all, have run out."""
        self._connection.execute(
            "UPDATE payment_sessions SET lease_expires_at = clock_timestamp() - interval '1 s'"
            " WHERE lease_id IS NOT NULL AND (session_id = ANY(%s) OR %s)",
            [list(session_ids), not session_ids],
        )

    def make_deliveries_due(self) -> None:
        """Make every delivery due now: the wait after a failure, or a claim's lease, is over."""
        self._connection.execute(
            "UPDATE outbox_deliveries SET next_attempt_at = clock_timestamp()"
            " WHERE delivered_at IS NULL AND dead_at IS NULL"
        )
