"""What the shop's systems call a payment: who is told of it, and what their sinks look up."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Text, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.adapters.postgres import tables
from worker.adapters.postgres.engine import one_statement
from worker.adapters.postgres.sessions.rows import session_from_row
from worker.domain.deliveries import Route
from worker.domain.session import PaymentSession

_S = tables.payment_sessions
_M = tables.outbox_messages
_D = tables.outbox_deliveries


class PostgresSessionLookup:
    """Implements the port `SessionLookup`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def find(self, session_id: str) -> PaymentSession | None:
        """Return the payment session as it is stored, without its token."""
        columns = (column for column in _S.columns if column.name != "authorization_token")
        async with one_statement(self._engine) as connection:
            found = await connection.execute(select(*columns).where(_S.c.session_id == session_id))
            row = found.mappings().one_or_none()
            return session_from_row(row) if row is not None else None


async def add_late_deliveries(
    connection: AsyncConnection, session: PaymentSession, routes: Sequence[Route]
) -> None:
    """Deliver to sinks that know the session what was written before they did.

    Only while its token is there: without it they could do nothing. Beat's sweep finds it.
    """
    for route in routes:
        if route.requires_mapping and route.sink in (session.shop_objects or {}):
            await connection.execute(
                insert(_D)
                .from_select(
                    ["event_id", "session_id", "sequence", "sink"],
                    select(_M.c.event_id, _M.c.session_id, _M.c.sequence, literal(route.sink, Text))
                    .join(_S, _S.c.session_id == _M.c.session_id)
                    .where(
                        _M.c.session_id == session.session_id,
                        _M.c.event_type.in_([str(each) for each in route.types or ()]),
                        _S.c.authorization_token.is_not(None),
                    ),
                )
                .on_conflict_do_nothing()
            )
