"""Heartbeats of workers and beats, and what beat saw of the queues, in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.adapters.postgres.engine import one_statement
from worker.services.heartbeat import Process, QueueLook

# A row whose process is gone leaves after this long.
KEPT = timedelta(days=1)

_BEAT = text("""
    WITH gone AS (
        DELETE FROM processes
        WHERE seen_at < statement_timestamp() - CAST(:kept AS interval)
            AND process_id <> CAST(:process_id AS uuid)
    )
    INSERT INTO processes AS p (process_id, role, host, pid, version, queues, accounts)
    VALUES (CAST(:process_id AS uuid), :role, :host, :pid, :version, CAST(:queues AS text[]),
        CAST(:accounts AS text[]))
    ON CONFLICT (process_id) DO UPDATE SET
        seen_at = statement_timestamp(),
        progress_at = CASE WHEN :progressed THEN statement_timestamp() ELSE p.progress_at END,
        stopped_at = CASE WHEN :stopped THEN statement_timestamp() END
""")
# The next message is compared by a hash; where the broker shows none, a growing count stands still.
_LOOK = text("""
    INSERT INTO queues AS q (queue, waiting, next_message_hash, waiting_since, unchanged_since)
    VALUES (:queue, :waiting, CAST(:next AS bytea),
        CASE WHEN :waiting > 0 THEN statement_timestamp() END,
        CASE WHEN :waiting > 0 THEN statement_timestamp() END)
    ON CONFLICT (queue) DO UPDATE SET
        waiting = EXCLUDED.waiting,
        next_message_hash = EXCLUDED.next_message_hash,
        waiting_since = CASE WHEN EXCLUDED.waiting > 0
            THEN COALESCE(q.waiting_since, statement_timestamp()) END,
        unchanged_since = CASE
            WHEN EXCLUDED.waiting = 0 THEN NULL
            WHEN EXCLUDED.next_message_hash IS NULL AND EXCLUDED.waiting >= q.waiting
                OR EXCLUDED.next_message_hash = q.next_message_hash
                THEN COALESCE(q.unchanged_since, statement_timestamp())
            ELSE statement_timestamp() END,
        looked_at = statement_timestamp()
""")


class PostgresProcesses:
    """Implements the port `Processes` of `worker.services.heartbeat`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def beat(self, process: Process, *, progressed: bool, stopped: bool) -> None:
        """Note that the process lives, or that it has stopped in order."""
        async with one_statement(self._engine) as connection:
            await connection.execute(
                _BEAT,
                {
                    "process_id": process.process_id,
                    "role": process.role,
                    "host": process.host,
                    "pid": process.pid,
                    "version": process.version,
                    "queues": list(process.queues),
                    "accounts": list(process.accounts),
                    "kept": KEPT,
                    "progressed": progressed,
                    "stopped": stopped,
                },
            )

    async def note_queues(self, queues: Sequence[QueueLook]) -> None:
        """Note what waits in each queue, and since when it has stood still."""
        for queue in sorted(queues, key=lambda each: each.queue):
            async with one_statement(self._engine) as connection:
                await connection.execute(
                    _LOOK,
                    {
                        "queue": queue.queue,
                        "waiting": queue.waiting,
                        "next": queue.next_message_hash,
                    },
                )
