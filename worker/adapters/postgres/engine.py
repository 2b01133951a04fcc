"""The connection pool with its timeouts, units of work, and which errors mean "unavailable".

A unit of work of a single statement runs in autocommit: BEGIN and COMMIT would be two more round
trips in every poll. Through PgBouncer it is a transaction, which the timeouts need there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import sqlalchemy.exc
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from worker.adapters.postgres.pgbouncer import is_pooled, open_engine
from worker.services.errors import UnavailableError, UnstorableTextError

POOL_SIZE = 10
CONNECT_TIMEOUT_SECONDS = 5
# A burst waits for a connection: giving up would lose an answer of Klarna's.
POOL_TIMEOUT_SECONDS = 10
STATEMENT_TIMEOUT_MS = 10_000
# By the client's clock, because a server that hangs does not enforce its own timeouts.
TRANSACTION_SECONDS = 15.0
LOCK_TIMEOUT_MS = 5_000
# A batch waits shorter for a locked row: when it fails, each of its rows is written alone.
BATCH_LOCK_TIMEOUT_MS = 500
# The connection is dead if the peer acknowledges nothing for this long.
TCP_USER_TIMEOUT_MS = 10_000
# When the server ends a transaction whose worker disappeared. Otherwise it could keep its rows
# locked for hours, and locked rows are never claimed.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000
_SERVER_SETTINGS = {
    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
    "lock_timeout": str(LOCK_TIMEOUT_MS),
    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    # The server cancels the statement of a client that has disconnected.
    "client_connection_check_interval": "1000",
    "timezone": "UTC",
}

# Undefined table or column, missing right: the migrations of this release have not run yet. Work
# waits for them.
_NOT_MIGRATED_STATES = {"42P01", "42703", "42501"}
# A character that the database's encoding does not know, such as a euro sign in LATIN1.
_UNSTORABLE_STATES = {"22P05", "22021"}
# The classes of SQLSTATEs that a retry may cure. Whatever else the server says is no outage: wrong
# data, a violated constraint, a wrong statement, an error that a trigger of somebody's raises.
_UNAVAILABLE_CLASSES = {
    "08",  # connection exception
    "0A",  # feature not supported: a prepared statement that a migration made wrong
    "25",  # invalid transaction state: read-only, after a failover
    "26",  # no such prepared statement: behind a pooler
    "28",  # invalid authorization: a password that is being changed
    "3D",  # no such database
    "3F",  # no such schema
    "40",  # transaction rollback: a deadlock
    "53",  # insufficient resources
    "55",  # object not in prerequisite state: a lock
    "57",  # operator intervention: a shutdown, a cancelled statement
    "58",  # system error
    "F0",  # configuration file
    "XX",  # internal error
}


def create_engine(url: str) -> AsyncEngine:
    """Return an engine that connects on first use; `url` names the psycopg driver."""
    return open_engine(
        create_async_engine,
        url,
        server_settings=_SERVER_SETTINGS,
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
    """Open a unit of work: committed at the end, rolled back on any error.

    Raises:
        UnavailableError: the database is unavailable; the same work may succeed later.
    """
    return _bounded(_begun(engine))


def one_statement(engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncConnection]:
    """Open a unit of work of a single statement, in autocommit.

    Raises:
        UnavailableError: the database is unavailable; the same work may succeed later.
    """
    return _bounded(_committed(engine))


def lock_timeout(rows: int) -> str:
    """Return the lock timeout for a statement on so many rows."""
    return f"{LOCK_TIMEOUT_MS if rows == 1 else BATCH_LOCK_TIMEOUT_MS}ms"


@asynccontextmanager
async def _committed(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.begin() as connection:
        try:
            yield connection
        except sqlalchemy.exc.DBAPIError:
            # A migration may have invalidated its prepared statements. Psycopg drops those on a
            # rollback, which does not happen in autocommit.
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
        if getattr(error.orig, "sqlstate", None) in _UNSTORABLE_STATES:
            raise UnstorableTextError from None
        if not is_unavailable(error):
            raise
        raise UnavailableError(f"postgres: {_reason(error)}") from None
    except UnicodeEncodeError:
        # Psycopg found it before the server.
        raise UnstorableTextError from None
    except OSError as error:
        raise UnavailableError(f"postgres: {type(error).__name__}") from None


def is_unavailable(error: sqlalchemy.exc.DBAPIError) -> bool:
    """Whether the same work may succeed later, without a change."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state:
        return state in _NOT_MIGRATED_STATES or state[:2] in _UNAVAILABLE_CLASSES
    # Without an SQLSTATE there was no answer: the connection failed.
    return isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))


def _reason(error: sqlalchemy.exc.DBAPIError) -> str:
    state = getattr(error.orig, "sqlstate", None)
    if state in _NOT_MIGRATED_STATES:
        return f"SQLSTATE {state}: is the database migrated?"
    return f"SQLSTATE {state}" if state else "the connection failed"
