"""Records decisions, in batches: those without changes, and those with transitions or events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.adapters.postgres.engine import lock_timeout, one_statement
from worker.adapters.postgres.outbox.rows import message_rows
from worker.adapters.postgres.recordset import as_json
from worker.adapters.postgres.sessions import record_sql
from worker.adapters.postgres.sessions.accounts import save_account
from worker.adapters.postgres.sessions.rows import recorded_row
from worker.domain.decision import Decision
from worker.domain.deliveries import Route
from worker.services.batching import Batcher
from worker.services.sessions import LeasedSession, Recorded
from worker.services.tokens import TokenCipher


@dataclass(frozen=True, slots=True)
class _WithChanges:
    """A decision with a transition or events, and its row."""

    row: dict[str, Any]
    decision: Decision


class Recorder:
    """Writes decisions, each only while its lease is held."""

    def __init__(
        self, engine: AsyncEngine, *, cipher: TokenCipher, routes: Sequence[Route]
    ) -> None:
        self._engine = engine
        self._cipher = cipher
        self._routes = routes
        self._unchanged = Batcher(self._record_unchanged)
        self._with_changes = Batcher(self._record_with_changes)

    async def record(self, leased: LeasedSession, decision: Decision) -> Recorded | None:
        """Write the decision with its transition, events and deliveries; None: lease lost."""
        noted = decision.account != decision.account_before and await save_account(
            self._engine,
            decision.session.account,
            before=decision.account_before,
            after=decision.account,
        )
        row = recorded_row(
            leased,
            decision.session,
            # While the account is paused, another read at once would be refused, too.
            may_repeat=not decision.account.is_paused(decision.decided_at),
            cipher=self._cipher,
        )
        if decision.is_unchanged:
            recorded = await self._unchanged.add(row)
        else:
            recorded = await self._with_changes.add(_WithChanges(row, decision))
        return replace(recorded, account_recorded=True) if recorded and noted else recorded

    async def _record_with_changes(self, changes: list[_WithChanges]) -> list[Recorded | None]:
        if len({each.row["session_id"] for each in changes}) < len(changes):
            # Only the lease's holder may write its transition. Written alone, each is checked.
            raise ValueError("several decisions on one session in a batch")
        transitions = [
            asdict(each.decision.transition) | {"session_id": each.row["session_id"]}
            for each in changes
            if each.decision.transition
        ]
        events = [event for each in changes for event in each.decision.events]
        values = {
            "transitions": as_json(record_sql.TRANSITION_TYPES, transitions),
            **message_rows(events, self._routes),
        }
        return await self._write(record_sql.RECORD, [each.row for each in changes], values)

    async def _record_unchanged(self, rows: list[dict[str, Any]]) -> list[Recorded | None]:
        return await self._write(record_sql.RECORD_UNCHANGED, rows, {})

    async def _write(
        self, statement: TextClause, rows: list[dict[str, Any]], others: dict[str, str]
    ) -> list[Recorded | None]:
        values = {
            "rows": as_json(record_sql.RECORD_TYPES, rows),
            "lock_timeout": lock_timeout(len(rows)),
            **others,
        }
        async with one_statement(self._engine) as connection:
            written = {
                (row.session_id, row.held_id): Recorded(nudged=row.lease_id is not None)
                for row in await connection.execute(statement, values)
            }
        return [written.get((row["session_id"], row["lease_id"])) for row in rows]
