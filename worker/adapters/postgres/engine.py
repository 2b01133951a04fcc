"""The connection pool, every wait in it bounded, and what counts as the database being away.

A statement that is a whole unit of work commits itself: the statements of a poll are one each, and
BEGIN and COMMIT would be two more round trips. Not through PgBouncer: there a transaction is what
carries the timeouts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import sqlalchemy.exc
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from worker.adapters.postgres.pgbouncer import is_pooled, open_engine
from worker.services.errors import UnavailableError

POOL_SIZE = 10
CONNECT_TIMEOUT_SECONDS = 5
# A burst waits its turn: giving up would drop what Klarna has just answered.
POOL_TIMEOUT_SECONDS = 10
STATEMENT_TIMEOUT_MS = 10_000
# The client's own clock over all of it: a server that hangs keeps none of its promises.
TRANSACTION_SECONDS = 15.0
LOCK_TIMEOUT_MS = 5_000
# What is written together waits no longer for a row that somebody else holds: each is then written
# alone.
LOCK_TIMEOUT_IN_COMPANY_MS = 500
# Bytes sent and not acknowledged for this long: the peer is gone although nothing was closed.
TCP_USER_TIMEOUT_MS = 10_000
# The server's own view of a worker that is gone without a word. Unbounded, a transaction cut off
# before its commit would keep its rows locked for hours, and a locked row is never claimed.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000
_TOLD = {
    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
    "lock_timeout": str(LOCK_TIMEOUT_MS),
    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    # A statement whose client has gone is ended, not committed after all.
    "client_connection_check_interval": "1000",
    "timezone": "UTC",
}

# Undefined table or column, a right not granted: this release's migrations are still to come. A
# shop's message waits.
_NOT_MIGRATED_STATES = {"42P01", "42703", "42501"}
# Wrong data, a broken constraint, a wrong statement: faults of ours, no better at the next try.
_FAULT_CLASSES = {"22", "23", "42"}


def create_engine(url: str) -> AsyncEngine:
    """Return an engine that connects on first use; `url` names the psycopg driver."""
    return open_engine(
        create_async_engine,
        url,
        told=_TOLD,
        **({} if is_pooled(make_url(url)) else {"isolation_level": "AUTOCOMMIT"}),
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
        },
    )


def transaction(engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncConnection]:
    """One unit of work: committed at the end, rolled back on any error.

    Raises:
        UnavailableError: the database is away, or asks to try again.
    """
    return _bounded(_begun(engine))


def one_statement(engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncConnection]:
    """A unit of work that is a single statement, which commits itself.

    Raises:
        UnavailableError: the database is away, or asks to try again.
    """
    return _bounded(_committed(engine))


def lock_timeout(rows: int) -> str:
    """Return how long to wait for the lock on one of so many rows, as Postgres writes it."""
    return f"{LOCK_TIMEOUT_MS if rows == 1 else LOCK_TIMEOUT_IN_COMPANY_MS}ms"


@asynccontextmanager
async def _committed(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.begin() as connection:
        try:
            yield connection
        except sqlalchemy.exc.DBAPIError:
            # What is prepared on it may have become wrong by a migration. Psycopg would forget it
            # with a rollback; here there is none.
            await connection.invalidate()
            raise


@asynccontextmanager
async def _begun(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="READ COMMITTED")
        async with connection.begin():
            yield connection


@asynccontextmanager
async def _bounded(
    opened: AbstractAsyncContextManager[AsyncConnection],
) -> AsyncIterator[AsyncConnection]:
    try:
        with anyio.fail_after(TRANSACTION_SECONDS):
            async with opened as connection:
                yield connection
    except TimeoutError:
        raise UnavailableError(f"postgres: no answer within {TRANSACTION_SECONDS:g} s") from None
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
        return state in _NOT_MIGRATED_STATES or state[:2] not in _FAULT_CLASSES
    # Without an SQLSTATE the server never answered: the connection failed or broke.
    return isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))


def _reason(error: sqlalchemy.exc.DBAPIError) -> str:
    state = getattr(error.orig, "sqlstate", None)
    if state in _NOT_MIGRATED_STATES:
        return f"SQLSTATE {state}: is the database migrated?"
    return f"SQLSTATE {state}" if state else "the connection failed"
