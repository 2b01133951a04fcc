"""All status transitions as one array, for fitting a policy.

Read-only and blocking. Without ids, references and tokens. Needs the extra `analysis`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from worker.adapters.postgres.engine import CONNECT_TIMEOUT_SECONDS
from worker.adapters.postgres.literals import one_of
from worker.adapters.postgres.pgbouncer import open_engine
from worker.domain.session import Outcome

# Klarna has few statuses. Any beyond the most frequent ones are counted as `OTHER`.
_MOST_STATUSES = 100
OTHER = "*"
# A million transitions take seconds.
_STATEMENT_TIMEOUT_MS = 300_000

_SETTLED = one_of(outcome for outcome in Outcome if not outcome.is_guess)
_STATUSES = text("""
    SELECT to_status FROM status_transitions GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT :limit
""")
# Sessions are identified by a hash. Those tracked before `reach` are left out: the purge has
# deleted all of them but the long-lived, which would bias the result.
_CHANGES = f"""
    COPY (
        SELECT hashtextextended(session_id, 0), t.sequence,
            COALESCE(array_position(CAST(%(statuses)s AS text[]), t.to_status), 0),
            CAST(p.outcome IN {_SETTLED} IS TRUE AS integer),
            t.occurred_at, t.observed_at, COALESCE(t.previous_read_at, '-infinity'),
            COALESCE(p.last_read_at, '-infinity'),
            ends.at, CAST(ends.at <= statement_timestamp() AS integer)
        FROM status_transitions AS t
        JOIN payment_sessions AS p USING (session_id),
        LATERAL (SELECT COALESCE(p.expires_at, p.tracked_at + %(max_lifetime)s) AS at) AS ends
        WHERE p.tracked_at >= statement_timestamp() - %(reach)s
    ) TO STDOUT (FORMAT binary)
"""  # noqa: S608 - constants of this module
_FIELDS = (
    *(("session", ">i8"), ("sequence", ">i4"), ("status", ">i4"), ("settled", ">i4")),
    *(("occurred_at", ">i8"), ("observed_at", ">i8"), ("previous_read_at", ">i8")),
    *(("last_read_at", ">i8"), ("ends_at", ">i8"), ("over", ">i4")),
)
# Postgres' binary COPY: a header of 19 bytes; per row the number of fields, then each field after
# its size; at the end -1.
_HEADER_BYTES = 19
_WIRE = np.dtype(
    [("fields", ">i2")]
    + [part for name, kind in _FIELDS for part in ((f"{name}_size", ">i4"), (name, kind))]
)
_STORED = np.dtype([(name, kind.replace(">", "=")) for name, kind in _FIELDS])
_ROWS_AT_ONCE = 50_000
# Timestamps are microseconds; '-infinity' is the smallest number.
NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The transitions of all sessions, ordered by session and sequence; times are microseconds.

    `changes` has the fields `session` (a hash of its id), `sequence`, `status` (an index into
    `statuses`), `settled` (whether Klarna said how the session ended), `occurred_at`,
    `observed_at`, `previous_read_at` and `last_read_at` (NEVER if there is none), `ends_at`
    (expiry, or the longest lifetime) and `over` (whether that lies in the past).
    """

    statuses: tuple[str, ...]
    changes: NDArray[np.void]


def read_history(database_url: str, *, reach: timedelta, max_lifetime: timedelta) -> History:
    """Return the transitions of every session tracked within `reach`, which the purge keeps.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database cannot be read.
    """
    engine = _engine(database_url)
    try:
        with engine.connect() as connection:
            limit = {"limit": _MOST_STATUSES}
            statuses = list(connection.execute(_STATUSES, limit).scalars())
            cursor = connection.connection.cursor()
            values = {"statuses": statuses, "reach": reach, "max_lifetime": max_lifetime}
            changes = np.concatenate([np.empty(0, _STORED), *_copied(cursor, values)])
    finally:
        engine.dispose()
    in_order = np.lexsort((changes["sequence"], changes["session"]))
    return History(statuses=(OTHER, *statuses), changes=changes[in_order])


def _engine(database_url: str) -> Engine:
    return open_engine(
        create_engine,
        database_url,
        server_settings={
            "default_transaction_read_only": "on",
            "timezone": "UTC",
            "statement_timeout": str(_STATEMENT_TIMEOUT_MS),
        },
        connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS},
        isolation_level="REPEATABLE READ",
    )


def _copied(cursor: Any, values: dict[str, object]) -> Iterator[NDArray[np.void]]:  # noqa: ANN401 - psycopg's, behind SQLAlchemy
    """Yield the rows in native byte order, in chunks."""
    waiting, header = bytearray(), _HEADER_BYTES
    try:
        with cursor.copy(_CHANGES, values) as copy:
            for data in copy:
                waiting += data
                if len(waiting) >= header + _ROWS_AT_ONCE * _WIRE.itemsize:
                    yield _native(waiting, header)
                    del waiting[: header + _complete_rows(waiting, header) * _WIRE.itemsize]
                    header = 0
    except psycopg.Error as error:
        raise DBAPIError.instance(None, None, error, psycopg.Error) from None
    yield _native(waiting, header)


def _complete_rows(data: bytearray, header: int) -> int:
    return max(len(data) - header, 0) // _WIRE.itemsize


def _native(data: bytearray, header: int) -> NDArray[np.void]:
    """Return the complete rows in native byte order, without the sizes between the fields."""
    rows = np.frombuffer(bytes(data), _WIRE, _complete_rows(data, header), offset=header)
    native = np.empty(len(rows), _STORED)
    for name, _ in _FIELDS:
        native[name] = rows[name]
    return native
