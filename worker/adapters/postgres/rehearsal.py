"""The way of a made-up payment session through the tables, in one transaction that is rolled back.

It locks no real row: neither its session nor its account exists.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import uuid4

import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction

from worker.adapters.postgres.engine import create_engine
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.domain.deliveries import Route
from worker.domain.schedule import PollLimits
from worker.domain.session import Observation
from worker.domain.tracking import TrackRequest
from worker.domain.transitions import decide
from worker.services.errors import UnavailableError
from worker.services.sessions import ClaimLimits
from worker.services.tokens import TokenCipher

_DELIVERIES = text("SELECT count(*) FROM outbox_deliveries WHERE session_id = :session_id")


class RehearsalError(Exception):
    """A step failed; the text says which, safe to show."""


async def rehearse(
    database_url: str,
    *,
    cipher: TokenCipher,
    routes: Sequence[Route],
    claims: ClaimLimits,
    polls: PollLimits,
) -> int:
    """Track, claim, load and record a session; return how many deliveries its end made.

    Raises:
        RehearsalError: a step failed or changed nothing.
    """
    engine = create_engine(database_url)
    try:
        async with _rolled_back(engine) as connection:
            joined = cast("AsyncEngine", _Joined(connection))
            sessions = PostgresSessions(joined, cipher=cipher, routes=routes)
            session_id = await _run(sessions, claims, polls)
            deliveries = await connection.execute(_DELIVERIES, {"session_id": session_id})
            return int(deliveries.scalar_one())
    except sqlalchemy.exc.DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or type(error.orig).__name__
        raise RehearsalError(f"SQLSTATE {state}") from None
    except UnavailableError as error:
        raise RehearsalError(str(error)) from None
    finally:
        await engine.dispose()


async def _run(sessions: PostgresSessions, claims: ClaimLimits, polls: PollLimits) -> str:
    session_id, account = f"check-{uuid4()}", f"check-{uuid4()}"
    request = TrackRequest(session_id=session_id, account=account)
    tracked = await sessions.track([request], lambda _account, _kind, _id: "", claims)
    for poll in tracked.polls:
        await sessions.release(poll.session_ids, [poll.lease_id])
    claimed = await sessions.claim(account, tasks=1, limits=claims)
    if [poll.session_ids for poll in claimed] != [(session_id,)]:
        raise RehearsalError("the session cannot be claimed")
    for leased in await sessions.load([session_id], claimed[0].lease_id, lease=claims.lease):
        decision = decide(
            leased.session,
            Observation(status="CANCELLED"),
            account=leased.account,
            now=leased.loaded_at,
            jitter=1.0,
            limits=polls,
        )
        if await sessions.record(leased, decision):
            return session_id
    raise RehearsalError("the session cannot be recorded")


@asynccontextmanager
async def _rolled_back(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="READ COMMITTED")
        transaction: AsyncTransaction = await connection.begin()
        try:
            yield connection
        finally:
            await transaction.rollback()


class _Joined:
    """Stands in for an engine: each unit of work is a savepoint in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        async with self._connection.begin_nested():
            yield self._connection

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_JoinedConnection]:
        yield _JoinedConnection(self._connection)


class _JoinedConnection:
    """Stands in for a connection of its own."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.begin = connection.begin_nested

    async def execution_options(self, **_: object) -> None:
        """Change nothing: the transaction has begun."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the connection has
        return getattr(self._connection, name)
