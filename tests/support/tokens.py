"""Stored payment sessions that hold an authorization token, as recording leaves them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import uuid4

from cryptography.fernet import Fernet, MultiFernet
from psycopg.types.json import Jsonb

from tests.support.stored import Stored


def add_authorized(
    stored: Stored,
    session_id: str,
    token: str,
    *,
    key: str,
    good_for: float = 3600,
    delivered: bool = True,
) -> None:
    """Insert a completed session whose token, encrypted with `key`, is good for so many seconds."""
    stored.add_session(
        session_id,
        status="COMPLETED",
        outcome="completed",
        finished_at="2026-01-01T00:00:00Z",
        next_poll_at=None,
        event_count=1,
        authorization_token=Fernet(key).encrypt(token.encode()),
    )
    stored.rows(
        "UPDATE payment_sessions SET finished_at = clock_timestamp(),"
        " status_observed_at = clock_timestamp() WHERE session_id = %s",
        session_id,
    )
    event_id = uuid4()
    expires_at = stored.value("SELECT clock_timestamp() + %s * interval '1 s' AS at", good_for)
    data = {"session_id": session_id, "authorization_expires_at": expires_at.isoformat()}
    shared = {"event_id": event_id, "session_id": session_id, "sequence": 1}
    kind = "payment_session.authorized"
    envelope = {"id": str(event_id), "type": kind, "subject": session_id, "data": data}
    stored.add("outbox_messages", **shared, event_type=kind, payload=Jsonb(envelope))
    delivered_at = stored.value("SELECT clock_timestamp() AS now") if delivered else None
    stored.add("outbox_deliveries", **shared, sink="redis_stream", delivered_at=delivered_at)


def add_many_authorized(stored: Stored, session_ids: Sequence[str], *, key: str) -> None:
    """Insert many at once; each session's token is its id."""
    cipher = Fernet(key)
    stored.rows(
        "INSERT INTO payment_sessions (session_id, account, kind, session_url, status, outcome,"
        " finished_at, next_poll_at, status_observed_at, authorization_token)"
        " SELECT id, 'default', 'hpp', 'https://klarna.test/' || id, 'COMPLETED', 'completed',"
        " now(), NULL, now(), token"
        " FROM unnest(%s::text[], %s::bytea[]) AS given(id, token)",
        list(session_ids),
        [cipher.encrypt(session_id.encode()) for session_id in session_ids],
    )


def decrypted(stored: Stored, *, keys: Iterable[str]) -> dict[str, str]:
    """Every stored token by session, in clear; fails where none of the keys fits."""
    cipher = MultiFernet([Fernet(key) for key in keys])
    rows = stored.rows(
        "SELECT session_id, authorization_token FROM payment_sessions"
        " WHERE authorization_token IS NOT NULL"
    )
    return {row["session_id"]: cipher.decrypt(row["authorization_token"]).decode() for row in rows}
