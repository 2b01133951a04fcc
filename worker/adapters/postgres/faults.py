"""What a person is told of a database that does not answer as it should: one line, no secret."""

from __future__ import annotations

import sqlalchemy.exc

_NOT_ALLOWED = "DATABASE_URL: its role is not allowed to do this; docs/roles.sql says which is."
_NOT_MIGRATED = "The database has no tables yet: run `alembic upgrade head`."
# By SQLSTATE: undefined table, undefined column, insufficient privilege, read-only transaction,
# statement timeout.
_FAULTS = {
    "42P01": _NOT_MIGRATED,
    "42703": "The database is older than this program: run `alembic upgrade head`.",
    "42501": _NOT_ALLOWED,
    "25006": _NOT_ALLOWED,
    "57014": "Postgres took too long to answer: try again, or ask for less.",
}


def fault_line(error: sqlalchemy.exc.DBAPIError) -> str | None:
    """Answer what is wrong and what to do; None where the fault is this program's own."""
    fault = _FAULTS.get(getattr(error.orig, "sqlstate", None) or "")
    if fault is None and isinstance(error, sqlalchemy.exc.OperationalError):
        return "DATABASE_URL: Postgres cannot be reached; see `session-worker check`."
    return fault
