"""Payment sessions in Postgres: tracking, claiming, loading and recording, all conditional."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.adapters.postgres.engine import lock_timeout, one_statement, transaction
from worker.adapters.postgres.outbox.rows import message_rows
from worker.adapters.postgres.recordset import as_json
from worker.adapters.postgres.sessions import claim_sql, record_sql
from worker.adapters.postgres.sessions.accounts import save_account
from worker.adapters.postgres.sessions.rows import (
    leased_from_row,
    recorded_row,
)
from worker.adapters.postgres.sessions.tracking import Applied, Tracking
from worker.domain.decision import Decision
from worker.domain.deliveries import Route
from worker.domain.errors import TrackError
from worker.domain.tracking import TrackEffect, TrackRequest, apply_track
from worker.services.batching import Batcher
from worker.services.sessions import (
    ClaimLimits,
    LeasedSession,
    PollTask,
    Recorded,
    SessionUrls,
    Tracked,
)
from worker.services.tokens import TokenCipher

_WAIT = text("SELECT set_config('lock_timeout', :lock_timeout, true)")


@dataclass(frozen=True, slots=True)
class _Load:
    """What one task asks for."""

    session_ids: tuple[str, ...]
    lease_id: UUID
    lease: timedelta


@dataclass(frozen=True, slots=True)
class _WithChanges:
    """A decision with something to tell, and the row that it makes."""

    row: dict[str, Any]
    decision: Decision


class PostgresSessions:
    """Implements the port `Sessions`."""

    def __init__(
        self, engine: AsyncEngine, *, cipher: TokenCipher, routes: Sequence[Route]
    ) -> None:
        self._engine = engine
        self._cipher = cipher
        self._routes = routes
        self._loads = Batcher(self._load_together)
        self._unchanged = Batcher(self._record_quietly)
        self._loud = Batcher(self._record_with_changes)

    # --- tracking

    async def track(
        self, requests: Sequence[TrackRequest], session_urls: SessionUrls, limits: ClaimLimits
    ) -> Tracked:
        """Insert or apply each, and take the leases of their next polls, in one transaction."""
        tracking = Tracking(session_urls=session_urls, apply=apply_track, routes=self._routes)
        async with transaction(self._engine) as connection:
            if len(requests) > 1:
                await connection.execute(_WAIT, {"lock_timeout": lock_timeout(len(requests))})
            stored = await tracking.store(connection, requests)
            polls = [
                poll
                for account, session_ids in _to_poll(stored).items()
                for poll in await _claim(
                    connection,
                    claim_sql.CLAIM_TRACKED,
                    account,
                    tasks=math.ceil(len(session_ids) / limits.sessions_per_task),
                    limits=limits,
                    available=None,
                    urgent_first=False,
                    session_ids=session_ids,
                )
            ]
        effects = [each.effect if isinstance(each, Applied) else each for each in stored]
        return Tracked(effects=effects, polls=polls)

    # --- claiming

    async def claim(
        self,
        account: str,
        *,
        tasks: int,
        limits: ClaimLimits,
        available: int | None = None,
        urgent_first: bool = False,
    ) -> list[PollTask]:
        """Lease the account's due sessions to at most `tasks` tasks, most valuable first."""
        values = {"available": available, "urgent_first": urgent_first}
        async with one_statement(self._engine) as connection:
            return await _claim(
                connection,
                claim_sql.CLAIM_DUE,
                account,
                tasks=tasks,
                limits=limits,
                **values,
            )

    async def release(self, session_ids: Collection[str], lease_ids: Collection[UUID]) -> None:
        """Give leases back: their sessions are due at once."""
        async with one_statement(self._engine) as connection:
            await connection.execute(
                record_sql.RELEASE,
                {"session_ids": list(session_ids), "lease_ids": list(lease_ids)},
            )

    async def next_due_in(self, accounts: Collection[str]) -> timedelta | None:
        """Return how long until the next open session is due, or None."""
        async with one_statement(self._engine) as connection:
            found = await connection.execute(record_sql.NEXT_DUE, {"accounts": list(accounts)})
            wait: timedelta | None = found.scalar_one_or_none()
            return wait

    # --- polling

    async def load(
        self, session_ids: Sequence[str], lease_id: UUID, *, lease: timedelta
    ) -> list[LeasedSession]:
        """Return the sessions still held under `lease_id`, leased anew under an id of their own."""
        return await self._loads.add(_Load(tuple(session_ids), lease_id, lease))

    async def _load_together(self, loads: list[_Load]) -> list[list[LeasedSession]]:
        """Load what several tasks ask for; each load has a lease id of its own."""
        renewed = [uuid4() for _ in loads]
        # In the order of their ids, as records are: groups that overlap seldom wait crosswise.
        asked = sorted(
            (session_id, load.lease_id, renewed_id)
            for load, renewed_id in zip(loads, renewed, strict=True)
            for session_id in load.session_ids
        )
        values = {
            "rows": as_json(
                record_sql.LOAD_TYPES,
                [dict(zip(record_sql.LOAD_TYPES, each, strict=True)) for each in asked],
            ),
            "lease": max(load.lease for load in loads),
        }
        found: dict[UUID, list[LeasedSession]] = defaultdict(list)
        async with one_statement(self._engine) as connection:
            for row in (await connection.execute(record_sql.LOAD, values)).mappings():
                found[row["lease_id"]].append(leased_from_row(row))
        return [found[renewed_id] for renewed_id in renewed]

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
            # While the account waits, asking again at once would only be refused again.
            may_repeat=not decision.account.is_paused(decision.decided_at),
            cipher=self._cipher,
        )
        if decision.is_unchanged:
            recorded = await self._unchanged.add(row)
        else:
            recorded = await self._loud.add(_WithChanges(row, decision))
        return replace(recorded, account_recorded=True) if recorded and noted else recorded

    async def _record_with_changes(self, told: list[_WithChanges]) -> list[Recorded | None]:
        if len({each.row["session_id"] for each in told}) < len(told):
            # Of one session only the holder of the lease may tell: alone, each finds out.
            raise ValueError("decisions on one session")
        transitions = [
            asdict(each.decision.transition) | {"session_id": each.row["session_id"]}
            for each in told
            if each.decision.transition
        ]
        events = [event for each in told for event in each.decision.events]
        values = {
            "transitions": as_json(record_sql.TRANSITION_TYPES, transitions),
            **message_rows(events, self._routes),
        }
        return await self._write(record_sql.RECORD, [each.row for each in told], values)

    async def _record_quietly(self, rows: list[dict[str, Any]]) -> list[Recorded | None]:
        return await self._write(record_sql.RECORD_QUIETLY, rows, {})

    async def _write(
        self, statement: TextClause, rows: list[dict[str, Any]], told: dict[str, str]
    ) -> list[Recorded | None]:
        values = {
            "rows": as_json(record_sql.RECORD_TYPES, rows),
            "lock_timeout": lock_timeout(len(rows)),
            **told,
        }
        async with one_statement(self._engine) as connection:
            written = {
                (row.session_id, row.held_id): Recorded(nudged=row.lease_id is not None)
                for row in await connection.execute(statement, values)
            }
        return [written.get((row["session_id"], row["lease_id"])) for row in rows]

    async def overdue_ends(self, *, max_lifetime: timedelta, limit: int) -> list[LeasedSession]:
        """Lease sessions whose end lies more than a day back, for giving them up unread."""
        async with one_statement(self._engine) as connection:
            rows = await connection.execute(
                record_sql.OVERDUE_ENDS,
                {"max_lifetime": max_lifetime, "limit": limit, "lease_id": uuid4()},
            )
            return [leased_from_row(row) for row in rows.mappings()]


def _to_poll(stored: Sequence[Applied | TrackError]) -> dict[str, list[str]]:
    """The session ids to poll, by account."""
    ids: dict[str, list[str]] = defaultdict(list)
    for each in stored:
        if isinstance(each, Applied) and each.effect is not TrackEffect.UNCHANGED:
            ids[each.account].append(each.session_id)
    return ids


async def _claim(
    connection: AsyncConnection,
    statement: TextClause,
    account: str,
    *,
    tasks: int,
    limits: ClaimLimits,
    **others: Any,  # noqa: ANN401 - parameters of the statement
) -> list[PollTask]:
    values = {
        "account": account,
        "tasks": tasks,
        "tasks_in_flight": limits.tasks_in_flight,
        "sessions_in_flight": limits.sessions_in_flight,
        "sessions_per_task": limits.sessions_per_task,
        "lease": limits.lease,
        "lease_ids": [uuid4() for _ in range(tasks)],
    }
    by_lease: dict[UUID, list[Any]] = defaultdict(list)
    for row in await connection.execute(statement, values | others):
        by_lease[row.lease_id].append(row)
    return [
        PollTask(
            account=account,
            lease_id=lease_id,
            session_ids=tuple(row.session_id for row in rows),
            lateness_ratio=min(row.lateness_ratio for row in rows),
        )
        for lease_id, rows in by_lease.items()
    ]
