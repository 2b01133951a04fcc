"""The outbox in Postgres: deliveries are claimed by lease, in order per session and sink."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from worker.adapters.postgres.engine import one_statement, transaction
from worker.adapters.postgres.outbox import delivery_sql, stream_sql
from worker.adapters.postgres.recordset import as_json
from worker.domain.deliveries import RetryDecision
from worker.services.batching import Batcher
from worker.services.outbox import Delivery


class PostgresOutbox:
    """Implements the ports of `services.outbox`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._marks = Batcher(self._mark_batch)

    async def claim(
        self,
        session_ids: Collection[str],
        sinks: Collection[str],
        *,
        lease: timedelta,
        limit: int | None = None,
    ) -> list[Delivery]:
        """Claim each session's oldest pending delivery per sink, if it is due; at most `limit`.

        Nothing is claimed for a sink that is disabled or paused at its request.
        """
        values = {"session_ids": list(session_ids), "sinks": list(sinks)}
        async with one_statement(self._engine) as connection:
            rows = await connection.execute(
                delivery_sql.CLAIM, values | {"lease": lease, "limit": limit}
            )
            return [
                Delivery(
                    event_id=row.event_id,
                    sink=row.sink,
                    session_id=row.session_id,
                    attempts=row.attempts,
                    age=row.age,
                    envelope=row.payload,
                    encrypted_token=row.encrypted_token,
                    token_left=row.token_left,
                    trace_parent=row.trace_parent,
                )
                for row in rows
            ]

    async def mark_delivered(self, delivery: Delivery) -> bool:
        """Mark it delivered; returns whether its session has more for that sink."""
        return await self._marks.add(delivery)

    async def _mark_batch(self, deliveries: list[Delivery]) -> list[bool]:
        ordered = sorted(deliveries, key=lambda each: (each.event_id, each.sink))
        values = {"rows": as_json(delivery_sql.MARKED, [_key(each) for each in ordered])}
        async with one_statement(self._engine) as connection:
            rows = await connection.execute(delivery_sql.MARK_DELIVERED, values)
            more = {(row.event_id, row.sink) for row in rows if row.has_more}
        return [(each.event_id, each.sink) in more for each in deliveries]

    async def mark_failed(self, delivery: Delivery, *, error: str, decision: RetryDecision) -> None:
        """Store the error and apply the decision, to the delivery and to its sink."""
        async with transaction(self._engine) as connection:
            values = _key(delivery) | {"error": error, "wait": decision.wait}
            marked = await connection.execute(delivery_sql.MARK_FAILED, values)
            if not marked.rowcount:
                return
            if decision.disable_sink:
                await connection.execute(
                    delivery_sql.DISABLE, {"sink": delivery.sink, "error": error}
                )
            if decision.pause_sink is not None:
                values = {"sink": delivery.sink, "hold": decision.pause_sink}
                await connection.execute(delivery_sql.HOLD, values)

    async def shorten_pauses(self) -> None:
        """Let no endpoint's pause delay an authorization by more than a minute."""
        async with one_statement(self._engine) as connection:
            await connection.execute(delivery_sql.SHORTEN_HOLDS)

    async def due_sessions(self, limits: Mapping[str, int]) -> list[str]:
        """Return payment sessions whose oldest pending delivery is due.

        `limits` has the greatest number of sessions by sink.
        """
        values = {"sinks": list(limits), "limits": list(limits.values())}
        async with one_statement(self._engine) as connection:
            rows = await connection.execute(delivery_sql.DUE_SESSIONS, values)
            return list(rows.scalars())

    async def epoch(self, stream: str) -> str | None:
        """Return the epoch that the stream was last given."""
        async with one_statement(self._engine) as connection:
            found = await connection.execute(stream_sql.GENERATION, {"stream": stream})
            epoch: str | None = found.scalar_one_or_none()
            return epoch

    async def renew_epoch(
        self, stream: str, sink: str, *, old: str | None, new: str, since: timedelta
    ) -> bool:
        """Change the epoch from `old` to `new`, and plan to redeliver the last `since` of events.

        Returns whether this call did it: another process may have been first.
        """
        values = {"stream": stream, "old": old, "new": new, "since": since}
        async with transaction(self._engine) as connection:
            if old is None:
                marked = await connection.execute(
                    stream_sql.FIRST_GENERATION, {"stream": stream, "new": new}
                )
                return bool(marked.rowcount)
            # First, so that a delivery marked before this one lies in the time that is redelivered.
            await connection.execute(stream_sql.INVALIDATE_ATTEMPTS, {"sink": sink})
            marked = await connection.execute(stream_sql.RENEW_GENERATION, values)
            if not marked.rowcount:
                await connection.rollback()
            return bool(marked.rowcount)

    async def redeliver(self, stream: str, sink: str, *, limit: int) -> int:
        """Make up to `limit` planned redeliveries due; returns how many, 0 when all are done."""
        async with transaction(self._engine) as connection:
            again = await connection.execute(
                stream_sql.REDELIVER, {"stream": stream, "sink": sink, "limit": limit}
            )
            if not again.rowcount:
                await connection.execute(stream_sql.REDELIVERED, {"stream": stream})
            return again.rowcount


def _key(delivery: Delivery) -> dict[str, object]:
    return {
        "event_id": delivery.event_id,
        "sink": delivery.sink,
        "attempts": delivery.attempts,
    }
