"""Payment sessions in Postgres: tracking, claiming, loading and recording, all conditional."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.adapters.postgres.engine import lock_timeout, one_statement, transaction
from worker.adapters.postgres.recordset import as_json
from worker.adapters.postgres.sessions import claim_sql, record_sql
from worker.adapters.postgres.sessions.claiming import claim
from worker.adapters.postgres.sessions.recording import Recorder
from worker.adapters.postgres.sessions.rows import leased_from_row
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

_NOT_POLLED = {TrackEffect.UNCHANGED, TrackEffect.SUPERSEDED}
_SET_LOCK_TIMEOUT = text("SELECT set_config('lock_timeout', :lock_timeout, true)")


@dataclass(frozen=True, slots=True)
class _Load:
    """The arguments of one call of `load`."""

    session_ids: tuple[str, ...]
    lease_id: UUID
    lease: timedelta


class PostgresSessions:
    """Implements the port `Sessions`."""

    def __init__(
        self, engine: AsyncEngine, *, cipher: TokenCipher, routes: Sequence[Route]
    ) -> None:
        self._engine = engine
        self._routes = routes
        self._loads = Batcher(self._load_batch)
        self._recorder = Recorder(engine, cipher=cipher, routes=routes)

    # --- tracking

    async def track(
        self, requests: Sequence[TrackRequest], session_urls: SessionUrls, limits: ClaimLimits
    ) -> Tracked:
        """Insert or apply each, and take the leases of their next polls, in one transaction."""
        tracking = Tracking(session_urls=session_urls, apply=apply_track, routes=self._routes)
        async with transaction(self._engine) as connection:
            if len(requests) > 1:
                await connection.execute(
                    _SET_LOCK_TIMEOUT, {"lock_timeout": lock_timeout(len(requests))}
                )
            stored = await tracking.store(connection, requests)
            polls = [
                poll
                for account, session_ids in _to_poll(stored).items()
                for poll in await claim(
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
        async with one_statement(self._engine) as connection:
            return await claim(
                connection,
                claim_sql.CLAIM_DUE,
                account,
                tasks=tasks,
                limits=limits,
                available=available,
                urgent_first=urgent_first,
            )

    async def release(self, session_ids: Collection[str], lease_ids: Collection[UUID]) -> None:
        """Give leases back, so that their sessions are due at once."""
        async with one_statement(self._engine) as connection:
            await connection.execute(
                record_sql.RELEASE,
                {"session_ids": list(session_ids), "lease_ids": list(lease_ids)},
            )

    async def hold(
        self, session_ids: Collection[str], lease_ids: Collection[UUID], *, lease: timedelta
    ) -> None:
        """Let leases run out after `lease`: until then nobody claims their sessions."""
        async with one_statement(self._engine) as connection:
            await connection.execute(
                record_sql.HOLD,
                {"session_ids": list(session_ids), "lease_ids": list(lease_ids), "lease": lease},
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
        """Return the sessions still held under `lease_id`; their leases get a new id."""
        return await self._loads.add(_Load(tuple(session_ids), lease_id, lease))

    async def _load_batch(self, loads: list[_Load]) -> list[list[LeasedSession]]:
        """Do several loads in one statement; each gets its own new lease id."""
        renewed = [uuid4() for _ in loads]
        # In the order of their ids, like records: batches that overlap seldom block each other.
        wanted = sorted(
            (session_id, load.lease_id, renewed_id)
            for load, renewed_id in zip(loads, renewed, strict=True)
            for session_id in load.session_ids
        )
        values = {
            "rows": as_json(
                record_sql.LOAD_TYPES,
                [dict(zip(record_sql.LOAD_TYPES, each, strict=True)) for each in wanted],
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
        return await self._recorder.record(leased, decision)

    async def overdue_ends(self, *, max_lifetime: timedelta, limit: int) -> list[LeasedSession]:
        """Lease sessions of refused accounts whose end is more than a day ago, to give them up."""
        async with one_statement(self._engine) as connection:
            rows = await connection.execute(
                record_sql.OVERDUE_ENDS,
                {"max_lifetime": max_lifetime, "limit": limit, "lease_id": uuid4()},
            )
            return [leased_from_row(row) for row in rows.mappings()]


def _to_poll(stored: Sequence[Applied | TrackError]) -> dict[str, list[str]]:
    """Return the ids of the sessions to poll, by account."""
    ids: dict[str, list[str]] = defaultdict(list)
    for each in stored:
        if isinstance(each, Applied) and each.effect not in _NOT_POLLED:
            ids[each.account].append(each.session_id)
    return ids
