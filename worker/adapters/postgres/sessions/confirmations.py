"""Confirmed orders and due warnings in Postgres: state and events in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.adapters.postgres import tables
from worker.adapters.postgres.engine import transaction
from worker.adapters.postgres.outbox.rows import insert_messages
from worker.adapters.postgres.sessions.rows import columns_without_token, session_from_row
from worker.domain.confirmation import ConfirmEffect, Warned, apply_confirmation, due_warning
from worker.domain.deliveries import Route
from worker.domain.errors import InvalidArgumentError
from worker.domain.events import Event

_T = tables.payment_sessions
_LOCKED = select(
    *columns_without_token(_T),
    func.clock_timestamp().label("locked_at"),
)
_LOCK_DUE = (
    _LOCKED.where(_T.c.next_warning_at <= func.statement_timestamp())
    .order_by(_T.c.next_warning_at)
    .with_for_update(skip_locked=True)
)
_WARN = (
    update(_T)
    .where(_T.c.session_id == bindparam("warned_id"), _T.c.confirmed_at.is_(None))
    .values(
        next_warning_at=bindparam("at"),
        authorization_lapsed_at=bindparam("lapsed_at"),
        event_count=bindparam("events"),
    )
)
_STOP = (
    update(_T)
    .where(
        _T.c.session_id.in_(
            select(_T.c.session_id)
            .where(_T.c.next_warning_at <= func.statement_timestamp())
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(next_warning_at=None)
)


class PostgresConfirmations:
    """Implements the port `Confirmations`."""

    def __init__(self, engine: AsyncEngine, *, routes: Sequence[Route]) -> None:
        self._engine = engine
        self._routes = routes

    async def confirm(self, session_id: str, order_id: str) -> ConfirmEffect:
        """Store the order that was placed, and stop the warnings."""
        async with transaction(self._engine) as connection:
            found = await connection.execute(
                _LOCKED.where(_T.c.session_id == session_id).with_for_update()
            )
            row = found.mappings().one_or_none()
            if row is None:
                raise InvalidArgumentError("session_id", "is not tracked: track it first")
            session, effect = apply_confirmation(
                session_from_row(row), order_id, now=row["locked_at"]
            )
            if effect is ConfirmEffect.CONFIRMED:
                await connection.execute(
                    update(_T)
                    .where(_T.c.session_id == session_id, _T.c.confirmed_at.is_(None))
                    .values(
                        confirmed_at=session.confirmed_at,
                        confirmed_order_id=session.confirmed_order_id,
                        next_warning_at=session.next_warning_at,
                    )
                )
            return effect

    async def warn_due(self, *, limit: int) -> list[Event]:
        """Store the warnings that are due; returns their events."""
        async with transaction(self._engine) as connection:
            rows = await connection.execute(_LOCK_DUE.limit(limit))
            due = [
                due_warning(session_from_row(row), now=row["locked_at"]) for row in rows.mappings()
            ]
            warned = [each for each in due if each is not None]
            await self._write(connection, warned)
            return [each.event for each in warned]

    async def stop_due_clocks(self, *, limit: int) -> int:
        """Stop the warnings of sessions with a due one; returns how many sessions."""
        async with transaction(self._engine) as connection:
            return (await connection.execute(_STOP, {"most": limit})).rowcount

    async def _write(self, connection: AsyncConnection, warned: Sequence[Warned]) -> None:
        if not warned:
            return
        await connection.execute(
            _WARN,
            [
                {
                    "warned_id": each.session.session_id,
                    "at": each.session.next_warning_at,
                    "lapsed_at": each.session.authorization_lapsed_at,
                    "events": each.session.event_count,
                }
                for each in warned
            ],
        )
        await insert_messages(connection, [each.event for each in warned], self._routes)
