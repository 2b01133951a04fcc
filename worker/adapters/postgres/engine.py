"""The connection pool, every wait in it bounded, and what counts as the database being away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy.exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from worker.services.ports import UnavailableError

POOL_SIZE = 10
CONNECT_TIMEOUT_SECONDS = 5
# A burst waits its turn: giving up would drop what Klarna has just answered.
POOL_TIMEOUT_SECONDS = 10
STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 5_000
# Bytes sent and not acknowledged for this long: the peer is gone although nothing was closed.
TCP_USER_TIMEOUT_MS = 10_000
# The server's own view of a worker that is gone without a word. Unbounded, a transaction cut off
# before its commit would keep its rows locked for hours, and a locked row is never claimed.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000
SERVER_KEEPALIVE = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3"
)

# Serialization failure, deadlock, lock not available, a prepared statement older than the table
# it reads: the same work may succeed next time.
_TRANSIENT_STATES = {"40001", "40P01", "55P03", "0A000"}
# Undefined table or column, a right not granted: this release's migrations are still to come. A
# shop's message waits.
_NOT_MIGRATED_STATES = {"42P01", "42703", "42501"}
# Connection, transaction state (read-only after a failover, left idle too long), authorization,
# insufficient resources (disk full too), operator intervention, system error, internal error.
_AWAY_CLASSES = {"08", "25", "28", "53", "57", "58", "XX"}


def create_engine(url: str) -> AsyncEngine:
    """Answer an engine that connects on first use; `url` names the psycopg driver."""
    return create_async_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "keepalives_idle": 10,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
            "application_name": "klarna-session-worker",
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} "
            f"-c lock_timeout={LOCK_TIMEOUT_MS} "
            f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS} "
            f"{SERVER_KEEPALIVE} -c timezone=UTC",
        },
        hide_parameters=True,
    )


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One unit of work: committed at the end, rolled back on any error.

    Raises:
        UnavailableError: the database is away, or asks to try again.
    """
    try:
        async with engine.begin() as connection:
            yield connection
    except sqlalchemy.exc.TimeoutError:
        raise UnavailableError("postgres: no free connection in the pool") from None
    except sqlalchemy.exc.DBAPIError as error:
        if not is_unavailable(error):
            raise
        raise UnavailableError(f"postgres: {_reason(error)}") from None
    except OSError as error:
        raise UnavailableError(f"postgres: {type(error).__name__}") from None


def is_unavailable(error: sqlalchemy.exc.DBAPIError) -> bool:
    """Whether the same work may succeed later, as it stands."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state:
        return (
            state in _TRANSIENT_STATES
            or state in _NOT_MIGRATED_STATES
            or state[:2] in _AWAY_CLASSES
        )
    # Without an SQLSTATE the server never answered: the connection failed or broke.
    return isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))


def _reason(error: sqlalchemy.exc.DBAPIError) -> str:
    state = getattr(error.orig, "sqlstate", None)
    if state in _NOT_MIGRATED_STATES:
        return f"SQLSTATE {state}: is the database migrated?"
    return f"SQLSTATE {state}" if state else "the connection failed"
