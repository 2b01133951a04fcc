"""Tracks many payment sessions in one transaction; their first polls are beat's to send."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.adapters.postgres import tables
from worker.adapters.postgres.engine import transaction
from worker.adapters.postgres.session_rows import session_from_row, session_values
from worker.domain.errors import TrackError
from worker.domain.session import Kind, PaymentSession
from worker.domain.tracking import DEFAULT_ACCOUNT, TrackEffect, TrackRequest, apply_bulk_track
from worker.services.ports import SessionUrls, UnavailableError

_T = tables.payment_sessions
_TYPES = {
    "session_id": "text",
    "account": "text",
    "kind": "text",
    "session_url": "text",
    "expires_at": "timestamptz",
    "reference": "text",
}
_NAMES = ", ".join(_TYPES)
_ARRAYS = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _TYPES.items())
# In the order of the ids, as everything that locks many rows: two of these cannot deadlock.
_INSERT = text(f"""
    INSERT INTO payment_sessions ({_NAMES})
    SELECT {_NAMES} FROM unnest({_ARRAYS}) AS new({_NAMES}) ORDER BY session_id
    ON CONFLICT (session_id) DO NOTHING
    RETURNING session_id
""")  # noqa: S608 - constants of this module
_KNOWN = (
    select(_T, func.clock_timestamp().label("locked_at"))
    .order_by(_T.c.session_id)
    .with_for_update()
)


class PostgresBulkTracking:
    """Implements the port `BulkTracking`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def track(
        self, requests: Sequence[TrackRequest], session_urls: SessionUrls
    ) -> list[TrackEffect | TrackError]:
        """Insert what is new, and correct what is known where a request says more."""
        async with transaction(self._engine) as connection:
            created = await _insert(connection, requests, session_urls)
            answers: dict[int, TrackEffect | TrackError] = {}
            again: dict[int, TrackRequest] = {}
            for place, request in enumerate(requests):
                if request.session_id in created:
                    # The same id later in one batch is a known one.
                    created.remove(request.session_id)
                    answers[place] = TrackEffect.CREATED
                else:
                    again[place] = request
            known = await _lock(connection, {r.session_id for r in again.values()})
            for place, request in again.items():
                answers[place] = await _apply(connection, request, known, session_urls)
            return [answers[place] for place in range(len(requests))]


async def _insert(
    connection: AsyncConnection, requests: Sequence[TrackRequest], session_urls: SessionUrls
) -> set[str]:
    rows = [_row(request, session_urls) for request in requests]
    columns = {name: [row[name] for row in rows] for name in _TYPES}
    return set((await connection.execute(_INSERT, columns)).scalars())


def _row(request: TrackRequest, session_urls: SessionUrls) -> dict[str, Any]:
    account, kind = request.account or DEFAULT_ACCOUNT, request.kind or Kind.HPP
    return {
        "session_id": request.session_id,
        "account": account,
        "kind": str(kind),
        "session_url": request.session_url or session_urls(account, kind, request.session_id),
        "expires_at": request.expires_at,
        "reference": request.reference,
    }


async def _lock(
    connection: AsyncConnection, session_ids: Collection[str]
) -> dict[str, tuple[PaymentSession, datetime]]:
    if not session_ids:
        return {}
    rows = await connection.execute(_KNOWN.where(_T.c.session_id.in_(session_ids)))
    known = {
        row["session_id"]: (session_from_row(row), row["locked_at"]) for row in rows.mappings()
    }
    if len(known) < len(session_ids):
        raise UnavailableError("postgres: a session was deleted meanwhile")
    return known


async def _apply(
    connection: AsyncConnection,
    request: TrackRequest,
    known: dict[str, tuple[PaymentSession, datetime]],
    session_urls: SessionUrls,
) -> TrackEffect | TrackError:
    existing, locked_at = known[request.session_id]
    try:
        session, effect = apply_bulk_track(
            existing,
            request,
            now=locked_at,
            session_url_for=lambda account, kind: session_urls(account, kind, request.session_id),
        )
    except TrackError as error:
        return error
    if effect is not TrackEffect.UNCHANGED:
        await connection.execute(
            update(_T).where(_T.c.session_id == request.session_id).values(session_values(session))
        )
        known[request.session_id] = (session, locked_at)
    return effect
