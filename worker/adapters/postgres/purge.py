"""Deletes old finished payment sessions, in small batches so that traffic is not blocked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.adapters.postgres.conditions import pending
from worker.adapters.postgres.engine import transaction

# Pending deliveries keep a session only if their sink is configured and enabled. Transitions,
# messages and deliveries are deleted with their session (ON DELETE CASCADE).
_DELETE_FINISHED = text(f"""
    DELETE FROM payment_sessions
    WHERE session_id IN (
        SELECT session_id
        FROM payment_sessions AS old
        WHERE finished_at < statement_timestamp() - :older_than
            AND NOT EXISTS (
                SELECT FROM outbox_deliveries AS d
                WHERE d.session_id = old.session_id
                    AND {pending("d")}
                    AND d.sink = ANY(CAST(:sinks AS text[]))
                    AND NOT EXISTS (
                        SELECT FROM webhook_endpoints AS e
                        WHERE e.sink = d.sink AND e.disabled_at IS NOT NULL
                    )
            )
        ORDER BY finished_at
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
""")  # noqa: S608 - constants of another module


class PostgresPurge:
    """Implements the port `Purge`; `sinks` are the configured ones."""

    def __init__(self, engine: AsyncEngine, *, sinks: Collection[str]) -> None:
        self._engine = engine
        self._sinks = list(sinks)

    async def delete_finished(self, *, older_than: timedelta, limit: int) -> int:
        """Delete finished sessions without pending deliveries to such sinks; returns how many."""
        async with transaction(self._engine) as connection:
            deleted = await connection.execute(
                _DELETE_FINISHED, {"older_than": older_than, "limit": limit, "sinks": self._sinks}
            )
            return deleted.rowcount
