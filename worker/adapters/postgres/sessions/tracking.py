"""Tracks payment sessions in batches: inserts new ones, corrects known ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import ARRAY, Text, any_, bindparam, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.adapters.postgres import tables
from worker.adapters.postgres.engine import transaction
from worker.adapters.postgres.recordset import as_json, recordset
from worker.adapters.postgres.sessions.rows import session_from_row, session_values
from worker.adapters.postgres.sessions.shop_objects import add_late_deliveries
from worker.domain.deliveries import Route
from worker.domain.errors import TrackError
from worker.domain.session import Kind, PaymentSession
from worker.domain.tracking import (
    DEFAULT_ACCOUNT,
    LATEST_FIRST_POLL,
    TrackEffect,
    TrackRequest,
    apply_bulk_track,
)
from worker.services.errors import UnavailableError
from worker.services.sessions import SessionUrls

_T = tables.payment_sessions
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_TYPES = {
    "session_id": "text",
    "account": "text",
    "kind": "text",
    "session_url": "text",
    "expires_at": "timestamptz",
    "reference": "text",
    "shop_objects": "jsonb",
    "trace_parent": "text",
}
_COLUMNS = ", ".join(_TYPES)
_ROW_TYPES = {**_TYPES, "first_poll_at": "timestamptz"}
# Ordered by id, like every statement that locks many rows, so that batches cannot deadlock.
_INSERT = text(f"""
    INSERT INTO payment_sessions ({_COLUMNS}, next_poll_at)
    SELECT {_COLUMNS}, GREATEST(now(),
        LEAST(first_poll_at, now() + CAST(:latest AS interval)))
    FROM {recordset("rows", _ROW_TYPES)} ORDER BY session_id
    ON CONFLICT (session_id) DO NOTHING
    RETURNING session_id
""")  # noqa: S608 - constants of this module
_KNOWN = (
    select(_T, func.clock_timestamp().label("locked_at"))
    .where(_T.c.session_id == any_(bindparam("session_ids", type_=ARRAY(Text))))
    .order_by(_T.c.session_id)
    .with_for_update()
)


class Apply(Protocol):
    """Applies a request to a known session: `apply_track` or `apply_bulk_track`."""

    def __call__(
        self,
        existing: PaymentSession,
        request: TrackRequest,
        *,
        now: datetime,
        session_url_for: Callable[[str, Kind], str],
    ) -> tuple[PaymentSession, TrackEffect]:
        """Return the changed session and the effect; raises ConflictError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The effect of a request, and the account of its session."""

    session_id: str
    account: str
    effect: TrackEffect


class PostgresBulkTracking:
    """Implements the port `BulkTracking`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def track(
        self, requests: Sequence[TrackRequest], session_urls: SessionUrls
    ) -> list[TrackEffect | TrackError]:
        """Insert new sessions, and correct known ones."""
        # Bulk requests have no shop objects, so there are no late deliveries.
        tracking = Tracking(session_urls=session_urls, apply=apply_bulk_track, routes=())
        async with transaction(self._engine) as connection:
            stored = await tracking.store(connection, requests)
        return [each.effect if isinstance(each, Applied) else each for each in stored]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Stores requests as rows."""

    session_urls: SessionUrls
    apply: Apply
    routes: Sequence[Route]

    async def store(
        self, connection: AsyncConnection, requests: Sequence[TrackRequest]
    ) -> list[Applied | TrackError]:
        """Insert or apply each request; a faulty one does not affect the others.

        Raises:
            UnavailableError: a known session was deleted at the same time.
        """
        rows = [self._row(request) for request in requests]
        # If an id repeats in a batch, its first request inserts and the others find it known.
        firsts: dict[str, tuple[int, dict[str, Any]]] = {}
        for index, row in enumerate(rows):
            if isinstance(row, dict):
                firsts.setdefault(row["session_id"], (index, row))
        created = await _insert(connection, [row for _, row in firsts.values()])
        results: dict[int, Applied | TrackError] = {
            index: Applied(session_id=name, account=row["account"], effect=TrackEffect.CREATED)
            for name, (index, row) in firsts.items()
            if name in created
        }
        remaining = [index for index in range(len(rows)) if index not in results]
        known = await _lock(connection, {requests[index].session_id for index in remaining})
        for index in remaining:
            request, row = requests[index], rows[index]
            if request.session_id in known:
                results[index] = await self._apply(connection, request, known)
            elif isinstance(row, TrackError):
                results[index] = row
            else:
                raise UnavailableError("postgres: a session was deleted at the same time")
        return [results[index] for index in range(len(rows))]

    def _row(self, request: TrackRequest) -> dict[str, Any] | TrackError:
        """Return a new session's row, or the error of the request."""
        account, kind = request.account or DEFAULT_ACCOUNT, request.kind or Kind.HPP
        # Also for a request with a URL, so that an account that is not configured is an error.
        try:
            documented_url = self.session_urls(account, kind, request.session_id)
            request.check_account(account)
        except TrackError as error:
            return error
        return {
            "session_id": request.session_id,
            "account": account,
            "kind": str(kind),
            "session_url": request.session_url or documented_url,
            "expires_at": request.expires_at,
            "reference": request.reference,
            "shop_objects": request.shop_objects,
            "trace_parent": request.trace_parent,
            # In the past: poll it now.
            "first_poll_at": request.first_poll_at or _LONG_AGO,
        }

    async def _apply(
        self,
        connection: AsyncConnection,
        request: TrackRequest,
        known: dict[str, tuple[PaymentSession, datetime]],
    ) -> Applied | TrackError:
        existing, locked_at = known[request.session_id]
        try:
            session, effect = self.apply(
                existing,
                request,
                now=locked_at,
                session_url_for=lambda account, kind: self.session_urls(
                    account, kind, request.session_id
                ),
            )
        except TrackError as error:
            return error
        if session != existing:
            await connection.execute(
                update(_T)
                .where(_T.c.session_id == session.session_id)
                .values(session_values(session))
            )
            known[session.session_id] = (session, locked_at)
        if session.shop_objects != existing.shop_objects:
            await add_late_deliveries(connection, session, self.routes)
        return Applied(session_id=session.session_id, account=session.account, effect=effect)


async def _insert(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Return the ids of the rows that are new."""
    if not rows:
        return set()
    return set(
        (
            await connection.execute(
                _INSERT, {"rows": as_json(_ROW_TYPES, rows), "latest": LATEST_FIRST_POLL}
            )
        ).scalars()
    )


async def _lock(
    connection: AsyncConnection, session_ids: Collection[str]
) -> dict[str, tuple[PaymentSession, datetime]]:
    if not session_ids:
        return {}
    rows = await connection.execute(_KNOWN, {"session_ids": list(session_ids)})
    return {row["session_id"]: (session_from_row(row), row["locked_at"]) for row in rows.mappings()}
