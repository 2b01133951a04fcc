"""The outbox in Postgres: claims by lease, ordered per payment session and sink."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.adapters.postgres.engine import transaction
from worker.services.ports import Delivery

# Only a session's oldest undelivered message is deliverable, per sink.
_IS_HEAD = """
    d.delivered_at IS NULL AND d.dead_at IS NULL
    AND d.sink = ANY(CAST(:sinks AS text[]))
    AND d.next_attempt_at <= statement_timestamp()
    AND NOT EXISTS (
        SELECT FROM outbox_deliveries AS older
        WHERE older.session_id = d.session_id AND older.sink = d.sink
            AND older.sequence < d.sequence
            AND older.delivered_at IS NULL AND older.dead_at IS NULL
    )
"""

_CLAIM = text(f"""
    WITH head AS (
        SELECT d.event_id, d.sink
        FROM outbox_deliveries AS d
        WHERE d.session_id = ANY(CAST(:session_ids AS text[])) AND {_IS_HEAD}
        FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE outbox_deliveries AS d
    SET next_attempt_at = statement_timestamp() + :lease, attempts = d.attempts + 1
    FROM head
    JOIN outbox_messages AS m USING (event_id)
    JOIN payment_sessions AS s USING (session_id)
    WHERE d.event_id = head.event_id AND d.sink = head.sink
    RETURNING d.event_id, d.sink, d.session_id, d.attempts, m.payload,
        CASE WHEN m.event_type = 'payment_session.authorized' THEN s.authorization_token END
            AS encrypted_token
""")  # noqa: S608 - constants of this module

_DUE_SESSIONS = text(f"""
    SELECT DISTINCT due.session_id
    FROM (
        SELECT d.session_id
        FROM outbox_deliveries AS d
        WHERE {_IS_HEAD}
        ORDER BY d.next_attempt_at
        LIMIT :limit
    ) AS due
""")  # noqa: S608 - constants of this module

# `attempts` is the lease: a delivery claimed again meanwhile is another's to mark.
_MARK_DELIVERED = text("""
    UPDATE outbox_deliveries
    SET delivered_at = clock_timestamp(), last_error = NULL
    WHERE event_id = :event_id AND sink = :sink AND attempts = :attempts
        AND delivered_at IS NULL AND dead_at IS NULL
""")
_MARK_FAILED = text("""
    UPDATE outbox_deliveries
    SET next_attempt_at = clock_timestamp() + :wait, last_error = :error
    WHERE event_id = :event_id AND sink = :sink AND attempts = :attempts
        AND delivered_at IS NULL AND dead_at IS NULL
""")

_GENERATION = text("SELECT generation FROM stream_generations WHERE stream = :stream")
_FIRST_GENERATION = text("""
    INSERT INTO stream_generations (stream, generation) VALUES (:stream, :new)
    ON CONFLICT (stream) DO NOTHING
""")
_RENEW_GENERATION = text("""
    UPDATE stream_generations SET generation = :new
    WHERE stream = :stream AND generation = :old
""")
_SEND_AGAIN = text("""
    UPDATE outbox_deliveries
    SET delivered_at = NULL, next_attempt_at = statement_timestamp()
    WHERE sink = :sink AND delivered_at >= statement_timestamp() - :since
""")


class PostgresOutbox:
    """Implements the port `Outbox`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(
        self, session_ids: Collection[str], sinks: Collection[str], *, lease: timedelta
    ) -> list[Delivery]:
        """Claim each session's oldest undelivered message per sink, where its time has come."""
        async with transaction(self._engine) as connection:
            rows = await connection.execute(
                _CLAIM, {"session_ids": list(session_ids), "sinks": list(sinks), "lease": lease}
            )
            return [
                Delivery(
                    event_id=row.event_id,
                    sink=row.sink,
                    session_id=row.session_id,
                    attempts=row.attempts,
                    envelope=row.payload,
                    encrypted_token=row.encrypted_token,
                )
                for row in rows
            ]

    async def mark_delivered(self, delivery: Delivery) -> None:
        """Note that the sink has it."""
        async with transaction(self._engine) as connection:
            await connection.execute(_MARK_DELIVERED, _key(delivery))

    async def mark_failed(self, delivery: Delivery, *, error: str, wait: timedelta) -> None:
        """Note the error and try again after `wait`."""
        async with transaction(self._engine) as connection:
            await connection.execute(_MARK_FAILED, _key(delivery) | {"error": error, "wait": wait})

    async def due_sessions(self, sinks: Collection[str], *, limit: int) -> list[str]:
        """Answer payment sessions whose oldest undelivered message is due."""
        async with transaction(self._engine) as connection:
            rows = await connection.execute(_DUE_SESSIONS, {"sinks": list(sinks), "limit": limit})
            return list(rows.scalars())

    async def generation(self, stream: str) -> str | None:
        """Answer the generation mark that the stream was last given."""
        async with transaction(self._engine) as connection:
            found = await connection.execute(_GENERATION, {"stream": stream})
            generation: str | None = found.scalar_one_or_none()
            return generation

    async def renew_generation(
        self, stream: str, sink: str, *, old: str | None, new: str, since: timedelta
    ) -> int | None:
        """Set the mark from `old` to `new` and send what was delivered within `since` again.

        Answers how many deliveries are sent again, None where another process was first.
        """
        values = {"stream": stream, "old": old, "new": new}
        async with transaction(self._engine) as connection:
            statement = _FIRST_GENERATION if old is None else _RENEW_GENERATION
            marked = await connection.execute(statement, values)
            if not marked.rowcount:
                return None
            if old is None:
                return 0
            again = await connection.execute(_SEND_AGAIN, {"sink": sink, "since": since})
            return again.rowcount


def _key(delivery: Delivery) -> dict[str, object]:
    return {
        "event_id": delivery.event_id,
        "sink": delivery.sink,
        "attempts": delivery.attempts,
    }
