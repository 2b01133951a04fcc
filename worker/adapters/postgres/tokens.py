"""Stored authorization tokens: erased when their hour is over, encrypted anew when keys change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.engine import transaction
from worker.services.errors import DeliveryError
from worker.services.tokens import SpentToken

BATCH = 500

# A delivered token is spent when its event says so. That may be too soon, where the time of the
# authorization is not known; one that nobody got is kept for the whole hour after it was read.
# With its order confirmed a delivered token is of no more use.
_ERASE_SPENT = text("""
    WITH spent AS (
        SELECT s.session_id,
            EXISTS (
                SELECT FROM outbox_deliveries AS d
                WHERE d.event_id = m.event_id AND d.delivered_at IS NULL
            ) AS undelivered
        FROM payment_sessions AS s
        LEFT JOIN outbox_messages AS m
            ON m.session_id = s.session_id AND m.event_type = 'payment_session.authorized'
        WHERE s.authorization_token IS NOT NULL
            AND COALESCE(
                CASE WHEN NOT EXISTS (
                    SELECT FROM outbox_deliveries AS d
                    WHERE d.event_id = m.event_id AND d.delivered_at IS NULL
                ) THEN LEAST(
                    CAST(m.payload -> 'data' ->> 'authorization_expires_at' AS timestamptz),
                    s.confirmed_at
                ) END,
                COALESCE(s.finished_at, s.last_polled_at, s.tracked_at) + interval '60 minutes'
            ) < statement_timestamp()
        LIMIT :limit
        FOR UPDATE OF s SKIP LOCKED
    )
    UPDATE payment_sessions AS s
    SET authorization_token = NULL
    FROM spent
    WHERE s.session_id = spent.session_id
    RETURNING s.session_id, spent.undelivered
""")

_COUNT = text("SELECT count(*) FROM payment_sessions WHERE authorization_token IS NOT NULL")
_NEXT = text("""
    SELECT session_id, authorization_token
    FROM payment_sessions
    WHERE authorization_token IS NOT NULL AND session_id > :after
    ORDER BY session_id
    LIMIT :limit
""")
_REPLACE = text("""
    UPDATE payment_sessions SET authorization_token = :new
    WHERE session_id = :session_id AND authorization_token = :old
""")


class PostgresTokens:
    """Implements the port `Tokens`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def erase_spent(self, *, limit: int) -> list[SpentToken]:
        """Erase tokens whose time is over; returns whose they were."""
        async with transaction(self._engine) as connection:
            rows = await connection.execute(_ERASE_SPENT, {"limit": limit})
            return [
                SpentToken(session_id=row.session_id, undelivered=row.undelivered) for row in rows
            ]


@dataclass(frozen=True, slots=True)
class Rotated:
    """One batch of `rotate`: how many tokens were looked at, and whose no key decrypts."""

    looked_at: int
    unreadable: tuple[str, ...]


def count_tokens(engine: Engine) -> int:
    """Return how many tokens are stored."""
    with engine.connect() as connection:
        return int(connection.execute(_COUNT).scalar_one())


def rotate(engine: Engine, cipher: FernetTokenCipher) -> Iterator[Rotated]:
    """Encrypt every stored token with the first key, a batch at a time; returns each batch.

    A token that no key decrypts is left as it is. Safe beside running workers, and to repeat.
    """
    after = ""
    while True:
        with engine.begin() as connection:
            rows = connection.execute(_NEXT, {"after": after, "limit": BATCH}).all()
            if not rows:
                return
            after = rows[-1].session_id
            unreadable = []
            for session_id, old in rows:
                try:
                    new = cipher.encrypt(cipher.decrypt(old))
                except DeliveryError:
                    unreadable.append(session_id)
                    continue
                connection.execute(_REPLACE, {"session_id": session_id, "old": old, "new": new})
        yield Rotated(looked_at=len(rows), unreadable=tuple(unreadable))
