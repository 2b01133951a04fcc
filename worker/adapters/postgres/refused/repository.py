"""Refused messages in Postgres: kept once each, tried again under a lease, resolved once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.adapters.postgres.engine import one_statement, transaction
from worker.domain.refused_messages import (
    ARGUMENTS_KEPT,
    MOST_ROWS,
    RefusalReason,
    Resolution,
)
from worker.services.refused_messages import ClaimedMessage, KeptMessage

# Redelivered, it is the same row. The table has an end: a sender in a loop must not fill the disk.
_KEEP = text("""
    INSERT INTO refused_messages
        (task_id, body_hash, task, session_id, reference, field, reason, arguments,
        argument_hashes, next_try_at)
    SELECT :task_id, :body_hash, :task, :session_id, :reference, :field, :reason,
        CAST(:arguments AS bytea), CAST(:argument_hashes AS bytea[]),
        statement_timestamp() + CAST(:first_wait AS interval)
    WHERE (SELECT count(*) FROM (SELECT FROM refused_messages LIMIT :most) AS r) < :most
    ON CONFLICT (task_id, body_hash) DO NOTHING
    RETURNING refused_id
""")
_IS_KEPT = text("""
    SELECT FROM refused_messages WHERE task_id = :task_id AND body_hash = :body_hash
""")
_DUE = text("""
    SELECT refused_id FROM refused_messages
    WHERE next_try_at <= statement_timestamp()
    ORDER BY next_try_at
    LIMIT :limit
""")
_CLAIM = text("""
    UPDATE refused_messages
    SET next_try_at = clock_timestamp() + CAST(:lease AS interval),
        last_tried_at = clock_timestamp()
    WHERE refused_id IN (
        SELECT refused_id FROM refused_messages
        WHERE refused_id = ANY(CAST(:refused_ids AS bigint[]))
            AND next_try_at <= statement_timestamp()
        ORDER BY refused_id
        FOR UPDATE SKIP LOCKED
    )
    RETURNING refused_id, task, task_id, arguments, received_at, last_tried_at
""")
_POSTPONE = text("""
    UPDATE refused_messages
    SET field = :field, reason = :reason, attempts = attempts + :attempts,
        next_try_at = CAST(:next_try_at AS timestamptz)
    WHERE refused_id = :refused_id AND resolved_at IS NULL
""")
_RESOLVE = text("""
    UPDATE refused_messages
    SET resolution = :resolution, resolved_at = clock_timestamp(),
        arguments = NULL, argument_hashes = '{}', next_try_at = NULL
    WHERE refused_id = :refused_id AND resolved_at IS NULL
""")
# A message whose arguments are gone can be tried no more: it waits for a person, who can drop it.
_DELETE_ARGUMENTS = text("""
    UPDATE refused_messages
    SET arguments = NULL, argument_hashes = '{}', next_try_at = NULL
    WHERE refused_id IN (
        SELECT refused_id FROM refused_messages
        WHERE resolved_at IS NULL AND arguments IS NOT NULL
            AND received_at < statement_timestamp() - CAST(:kept AS interval)
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
""")
_DELETE_OLD = text("""
    DELETE FROM refused_messages
    WHERE refused_id IN (
        SELECT refused_id FROM refused_messages
        WHERE received_at < statement_timestamp() - CAST(:older_than AS interval)
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
""")
_DELETE_EARLY = text("""
    DELETE FROM early_confirmations
    WHERE received_at < statement_timestamp() - CAST(:older_than AS interval)
""")


class PostgresRefusedMessages:
    """Implements the ports of `worker.services.refused_messages`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def keep(
        self, message: KeptMessage, reason: RefusalReason, *, first_wait: timedelta | None
    ) -> bool:
        """Keep the message, unless it is kept already; returns False where the table is full."""
        row = {
            "task_id": message.task_id,
            "body_hash": message.body_hash,
            "task": message.task,
            "session_id": message.session_id,
            "reference": message.reference,
            "field": reason.field,
            "reason": reason.reason,
            "arguments": message.arguments,
            "argument_hashes": list(message.argument_hashes),
            "first_wait": first_wait,
            "most": MOST_ROWS,
        }
        async with transaction(self._engine) as connection:
            if (await connection.execute(_KEEP, row)).first() is not None:
                return True
            known = {"task_id": message.task_id, "body_hash": message.body_hash}
            return (await connection.execute(_IS_KEPT, known)).first() is not None

    async def due(self, *, limit: int) -> list[int]:
        """Return the messages whose next try is due."""
        async with one_statement(self._engine) as connection:
            return list((await connection.execute(_DUE, {"limit": limit})).scalars())

    async def claim(self, refused_ids: Sequence[int], *, lease: timedelta) -> list[ClaimedMessage]:
        """Claim those of the messages that are due; they are due again when the lease is over."""
        async with one_statement(self._engine) as connection:
            rows = await connection.execute(
                _CLAIM, {"refused_ids": list(refused_ids), "lease": lease}
            )
            return [
                ClaimedMessage(
                    refused_id=row.refused_id,
                    task=row.task,
                    task_id=row.task_id,
                    arguments=row.arguments,
                    received_at=row.received_at,
                    claimed_at=row.last_tried_at,
                )
                for row in rows
            ]

    async def postpone(
        self,
        refused_id: int,
        reason: RefusalReason,
        *,
        next_try_at: datetime | None,
        counted: bool,
    ) -> None:
        """Note why a try failed and when the next one is; `counted` says that it was an attempt."""
        async with one_statement(self._engine) as connection:
            await connection.execute(
                _POSTPONE,
                {
                    "refused_id": refused_id,
                    "field": reason.field,
                    "reason": reason.reason,
                    "next_try_at": next_try_at,
                    "attempts": int(counted),
                },
            )

    async def resolve(self, refused_id: int, resolution: Resolution) -> None:
        """End a message; its arguments are deleted at once."""
        async with one_statement(self._engine) as connection:
            await connection.execute(
                _RESOLVE, {"refused_id": refused_id, "resolution": str(resolution)}
            )

    async def purge(self, *, older_than: timedelta, limit: int) -> int:
        """Delete arguments after 72 hours, rows after `older_than`; returns how many rows.

        Confirmations whose session nobody tracked are among them.
        """
        async with transaction(self._engine) as connection:
            await connection.execute(_DELETE_ARGUMENTS, {"kept": ARGUMENTS_KEPT, "limit": limit})
            deleted = await connection.execute(
                _DELETE_OLD, {"older_than": older_than, "limit": limit}
            )
            await connection.execute(_DELETE_EARLY, {"older_than": older_than})
            return deleted.rowcount
