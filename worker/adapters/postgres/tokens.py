"""Stored authorization tokens: erased after their lifetime, re-encrypted when keys change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.engine import transaction
from worker.adapters.postgres.literals import interval, literal
from worker.domain.events import EventType
from worker.domain.session import AUTHORIZATION_LIFETIME
from worker.services.errors import DeliveryError
from worker.services.tokens import SpentToken

BATCH = 500

# Whether pending or dead.
_IS_UNDELIVERED = """
    EXISTS (
        SELECT FROM outbox_deliveries AS d
        WHERE d.event_id = m.event_id AND d.delivered_at IS NULL
    )
"""
# A delivered token is erased at the event's `authorization_expires_at`, or once its order is
# confirmed. An undelivered one is kept for the whole lifetime after it was read: the event's time
# is too early if Klarna did not say when the authorization began. The token of an open session is
# its proof of payment.
_ERASE_SPENT = text(f"""
    WITH spent AS (
        SELECT s.session_id,
            {_IS_UNDELIVERED} AS undelivered
        FROM payment_sessions AS s
        LEFT JOIN outbox_messages AS m
            ON m.session_id = s.session_id AND m.event_type = {literal(EventType.AUTHORIZED)}
        WHERE s.authorization_token IS NOT NULL
            AND s.outcome IS NOT NULL
            AND COALESCE(
                CASE WHEN NOT {_IS_UNDELIVERED} THEN LEAST(
                    CAST(m.payload -> 'data' ->> 'authorization_expires_at' AS timestamptz),
                    s.confirmed_at
                ) END,
                s.finished_at + {interval(AUTHORIZATION_LIFETIME)}
            ) < statement_timestamp()
        LIMIT :limit
        FOR UPDATE OF s SKIP LOCKED
    )
    UPDATE payment_sessions AS s
    SET authorization_token = NULL
    FROM spent
    WHERE s.session_id = spent.session_id
    RETURNING s.session_id, spent.undelivered
""")  # noqa: S608 - constants of the domain

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
        """Erase tokens that are of no more use; returns their sessions."""
        async with transaction(self._engine) as connection:
            rows = await connection.execute(_ERASE_SPENT, {"limit": limit})
            return [
                SpentToken(session_id=row.session_id, undelivered=row.undelivered) for row in rows
            ]


@dataclass(frozen=True, slots=True)
class Rotated:
    """One batch of `rotate`; `unreadable` are the sessions whose token no key decrypts."""

    looked_at: int
    unreadable: tuple[str, ...]


def count_batches(engine: Engine) -> int:
    """Return how many batches of tokens `rotate` has to do."""
    with engine.connect() as connection:
        return math.ceil(int(connection.execute(_COUNT).scalar_one()) / BATCH)


def rotate(engine: Engine, cipher: FernetTokenCipher) -> Iterator[Rotated]:
    """Encrypt every stored token with the first key, in batches; yields each batch.

    A token that no key decrypts stays as it is. Safe to repeat, and while workers run.
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
