"""The outbox in Postgres: claims by lease, ordered per payment session and sink."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.adapters.postgres.engine import one_statement, transaction
from worker.adapters.postgres.recordset import as_json, recordset
from worker.adapters.postgres.sessions.record_sql import ASYNC_COMMIT
from worker.domain.deliveries import RetryDecision
from worker.services.batching import Batcher
from worker.services.outbox import Delivery

_SINK_WAITS = """
    EXISTS (
        SELECT FROM webhook_endpoints AS e
        WHERE e.sink = wanted.sink
            AND (e.disabled_at IS NOT NULL OR e.held_until > statement_timestamp())
    )
"""
# Only a session's oldest undelivered message is deliverable, per sink.
_IS_HEAD = """
    d.sink = wanted.sink
    AND d.delivered_at IS NULL AND d.dead_at IS NULL
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
        FROM unnest(CAST(:sinks AS text[])) AS wanted(sink)
        JOIN outbox_deliveries AS d
            ON d.session_id = ANY(CAST(:session_ids AS text[])) AND {_IS_HEAD}
        WHERE NOT {_SINK_WAITS}
        ORDER BY d.next_attempt_at
        LIMIT CAST(:limit AS integer)
        FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE outbox_deliveries AS d
    SET next_attempt_at = statement_timestamp() + :lease, attempts = d.attempts + 1
    FROM head
    JOIN outbox_messages AS m USING (event_id)
    JOIN payment_sessions AS s USING (session_id)
    WHERE d.event_id = head.event_id AND d.sink = head.sink
    RETURNING d.event_id, d.sink, d.session_id, d.attempts, m.payload,
        statement_timestamp() - d.due_since AS age,
        CASE WHEN m.event_type = 'payment_session.authorized' THEN s.authorization_token END
            AS encrypted_token,
        s.trace_parent
""")  # noqa: S608 - constants of this module

_DUE_SESSIONS = text(f"""
    SELECT DISTINCT due.session_id
    FROM unnest(CAST(:sinks AS text[]), CAST(:limits AS integer[])) AS wanted(sink, most),
    LATERAL (
        SELECT d.session_id
        FROM outbox_deliveries AS d
        WHERE {_IS_HEAD}
        ORDER BY d.next_attempt_at
        LIMIT wanted.most
    ) AS due
    WHERE NOT {_SINK_WAITS}
""")  # noqa: S608 - constants of this module

# `attempts` is the lease: a delivery claimed again meanwhile is another's to mark.
_MARKED = {"event_id": "uuid", "sink": "text", "attempts": "integer"}
_MARK_DELIVERED = text(f"""
    WITH marked AS (
        UPDATE outbox_deliveries AS d
        SET delivered_at = clock_timestamp(), last_error = NULL
        FROM {recordset("rows", _MARKED)}
        WHERE d.event_id = v.event_id AND d.sink = v.sink AND d.attempts = v.attempts
            AND d.delivered_at IS NULL AND d.dead_at IS NULL
        RETURNING d.event_id, d.sink, d.session_id
    )
    SELECT event_id, sink, {ASYNC_COMMIT},
        EXISTS (
            SELECT FROM outbox_deliveries AS other
            WHERE other.session_id = marked.session_id AND other.sink = marked.sink
                AND other.event_id <> marked.event_id
                AND other.delivered_at IS NULL AND other.dead_at IS NULL
        ) AS has_more
    FROM marked
""")  # noqa: S608 - constants of this module
_MARK_FAILED = text("""
    UPDATE outbox_deliveries
    SET last_error = :error,
        next_attempt_at =
            clock_timestamp() + COALESCE(CAST(:wait AS interval), interval '0'),
        dead_at = CASE WHEN CAST(:wait AS interval) IS NULL THEN clock_timestamp() END
    WHERE event_id = :event_id AND sink = :sink AND attempts = :attempts
        AND delivered_at IS NULL AND dead_at IS NULL
""")
_DISABLE = text("""
    INSERT INTO webhook_endpoints AS e (sink, disabled_at, reason)
    VALUES (:sink, clock_timestamp(), :error)
    ON CONFLICT (sink) DO UPDATE SET disabled_at = EXCLUDED.disabled_at, reason = EXCLUDED.reason
    WHERE e.disabled_at IS NULL
""")
_HOLD = text("""
    INSERT INTO webhook_endpoints AS e (sink, held_until)
    VALUES (:sink, clock_timestamp() + :hold)
    ON CONFLICT (sink) DO UPDATE SET held_until = EXCLUDED.held_until
    WHERE e.held_until IS NULL OR e.held_until < EXCLUDED.held_until
""")

_EPOCH = text("SELECT generation FROM stream_generations WHERE stream = :stream")
_FIRST_EPOCH = text("""
    INSERT INTO stream_generations (stream, generation) VALUES (:stream, :new)
    ON CONFLICT (stream) DO NOTHING
""")
_RENEW_EPOCH = text("""
    UPDATE stream_generations
    SET generation = :new,
        resend_from = statement_timestamp() - :since,
        resend_until = clock_timestamp()
    WHERE stream = :stream AND generation = :old
""")
# What is under way just now may have reached the stream that was lost: its mark must miss.
_DELIVER_ANEW = text("""
    UPDATE outbox_deliveries
    SET attempts = attempts + 1, next_attempt_at = statement_timestamp()
    WHERE sink = :sink AND delivered_at IS NULL AND dead_at IS NULL AND attempts > 0
""")
_SEND_AGAIN = text("""
    WITH batch AS (
        SELECT d.event_id, d.sink
        FROM stream_generations AS g
        JOIN outbox_deliveries AS d
            ON d.sink = :sink AND d.delivered_at BETWEEN g.resend_from AND g.resend_until
        WHERE g.stream = :stream
        ORDER BY d.delivered_at
        LIMIT :limit
        FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE outbox_deliveries AS d
    SET delivered_at = NULL, next_attempt_at = statement_timestamp()
    FROM batch
    WHERE d.event_id = batch.event_id AND d.sink = batch.sink
""")
_ALL_SENT_AGAIN = text("""
    UPDATE stream_generations SET resend_from = NULL, resend_until = NULL
    WHERE stream = :stream AND resend_from IS NOT NULL
""")


class PostgresOutbox:
    """Implements the ports of `services.outbox`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._marks = Batcher(self._mark_together)

    async def claim(
        self,
        session_ids: Collection[str],
        sinks: Collection[str],
        *,
        lease: timedelta,
        limit: int | None = None,
    ) -> list[Delivery]:
        """Claim each session's oldest undelivered message per sink, where its time has come.

        At most `limit`. Nothing for a sink that is disabled or asked for a pause.
        """
        values = {"session_ids": list(session_ids), "sinks": list(sinks)}
        async with one_statement(self._engine) as connection:
            rows = await connection.execute(_CLAIM, values | {"lease": lease, "limit": limit})
            return [
                Delivery(
                    event_id=row.event_id,
                    sink=row.sink,
                    session_id=row.session_id,
                    attempts=row.attempts,
                    age=row.age,
                    envelope=row.payload,
                    encrypted_token=row.encrypted_token,
                    trace_parent=row.trace_parent,
                )
                for row in rows
            ]

    async def mark_delivered(self, delivery: Delivery) -> bool:
        """Note that the sink has it; returns whether its session has more for that sink."""
        return await self._marks.add(delivery)

    async def _mark_together(self, deliveries: list[Delivery]) -> list[bool]:
        ordered = sorted(deliveries, key=lambda each: (each.event_id, each.sink))
        values = {"rows": as_json(_MARKED, [_key(each) for each in ordered])}
        async with one_statement(self._engine) as connection:
            rows = await connection.execute(_MARK_DELIVERED, values)
            more = {(row.event_id, row.sink) for row in rows if row.has_more}
        return [(each.event_id, each.sink) in more for each in deliveries]

    async def mark_failed(self, delivery: Delivery, *, error: str, decision: RetryDecision) -> None:
        """Note the error and what comes of it, for the delivery and for its sink."""
        async with transaction(self._engine) as connection:
            values = _key(delivery) | {"error": error, "wait": decision.wait}
            marked = await connection.execute(_MARK_FAILED, values)
            if not marked.rowcount:
                return
            if decision.disable_sink:
                await connection.execute(_DISABLE, {"sink": delivery.sink, "error": error})
            if decision.pause_sink is not None:
                values = {"sink": delivery.sink, "hold": decision.pause_sink}
                await connection.execute(_HOLD, values)

    async def due_sessions(self, limits: Mapping[str, int]) -> list[str]:
        """Return payment sessions whose oldest undelivered message is due.

        `limits` names the sinks, and how many sessions at most each may fill the answer with.
        """
        values = {"sinks": list(limits), "limits": list(limits.values())}
        async with one_statement(self._engine) as connection:
            rows = await connection.execute(_DUE_SESSIONS, values)
            return list(rows.scalars())

    async def epoch(self, stream: str) -> str | None:
        """Return the epoch that was last written to the stream."""
        async with one_statement(self._engine) as connection:
            found = await connection.execute(_EPOCH, {"stream": stream})
            epoch: str | None = found.scalar_one_or_none()
            return epoch

    async def renew_epoch(
        self, stream: str, sink: str, *, old: str | None, new: str, since: timedelta
    ) -> bool:
        """Change the epoch from `old` to `new`; deliveries of the last `since` are to be repeated.

        Returns whether this call did it: another process may have been first.
        """
        values = {"stream": stream, "old": old, "new": new, "since": since}
        async with transaction(self._engine) as connection:
            if old is None:
                marked = await connection.execute(_FIRST_EPOCH, {"stream": stream, "new": new})
                return bool(marked.rowcount)
            # First, so that what is marked meanwhile is marked before the time that is sent again.
            await connection.execute(_DELIVER_ANEW, {"sink": sink})
            marked = await connection.execute(_RENEW_EPOCH, values)
            if not marked.rowcount:
                await connection.rollback()
            return bool(marked.rowcount)

    async def redeliver(self, stream: str, sink: str, *, limit: int) -> int:
        """Make some of what is to be sent again due; returns how many, 0 when all is done."""
        async with transaction(self._engine) as connection:
            again = await connection.execute(
                _SEND_AGAIN, {"stream": stream, "sink": sink, "limit": limit}
            )
            if not again.rowcount:
                await connection.execute(_ALL_SENT_AGAIN, {"stream": stream})
            return again.rowcount


def _key(delivery: Delivery) -> dict[str, object]:
    return {
        "event_id": delivery.event_id,
        "sink": delivery.sink,
        "attempts": delivery.attempts,
    }
