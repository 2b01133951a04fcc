"""Payment sessions and their ids in shop systems, for the sinks of these systems."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Text, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.adapters.postgres import tables
from worker.adapters.postgres.engine import one_statement
from worker.adapters.postgres.sessions.rows import columns_without_token, session_from_row
from worker.domain.deliveries import Route
from worker.domain.session import PaymentSession

_S = tables.payment_sessions
_M = tables.outbox_messages
_D = tables.outbox_deliveries
_SESSION = select(*columns_without_token(_S))


class PostgresSessionLookup:
    """Implements the port `SessionLookup`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def find(self, session_id: str) -> PaymentSession | None:
        """Return the stored payment session without its token, or None."""
        async with one_statement(self._engine) as connection:
            found = await connection.execute(_SESSION.where(_S.c.session_id == session_id))
            row = found.mappings().one_or_none()
            return session_from_row(row) if row is not None else None


async def add_late_deliveries(
    connection: AsyncConnection, session: PaymentSession, routes: Sequence[Route]
) -> None:
    """Add deliveries of earlier messages, to sinks whose shop objects are known only now.

    Only while the token is stored, because these sinks need it. Beat's sweep finds the deliveries.
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
