"""What a person is told of a database that does not answer as it should: one line, no secret."""

from __future__ import annotations

import sqlalchemy.exc

_NOT_ALLOWED = "DATABASE_URL: its role lacks the rights for this; see docs/roles.sql."
_NOT_MIGRATED = "The database has no tables yet: run `alembic upgrade head`."
# By SQLSTATE: undefined table, undefined column, insufficient privilege, read-only transaction,
# statement timeout.
_FAULTS = {
    "42P01": _NOT_MIGRATED,
    "42703": "The database is older than this program: run `alembic upgrade head`.",
    "42501": _NOT_ALLOWED,
    "25006": _NOT_ALLOWED,
    "57014": "Postgres took too long: try again, or ask for less.",
}
# What Postgres and libpq say where no connection comes about: it has no SQLSTATE then. Their words
# are looked for and never shown, as they name hosts and users.
_UNREACHABLE = {
    "password authentication failed": "refuses the user or the password in DATABASE_URL: correct "
    "them; special characters of a password must be escaped",
    "is not permitted to log in": "does not let DATABASE_URL's user log in: "
    "`ALTER ROLE ... LOGIN`, or name another user",
    "no pg_hba.conf entry": "does not admit this machine as DATABASE_URL's user: add it to "
    "pg_hba.conf, or `?sslmode=require` to DATABASE_URL",
    "failed to resolve host": "host not found: correct the host's name in DATABASE_URL",
    "Connection refused": "connection refused: is it running, and are host and port in "
    "DATABASE_URL correct?",
    "timeout": "connection timed out: is there a firewall, and is the host in "
    "DATABASE_URL correct?",
    "too many": "has no connection left: raise its max_connections, or run fewer processes",
    "remaining connection slots": "has no connection left: raise its max_connections, or run "
    "fewer processes",
    "the database system is": "is starting or stopping: try again",
    "does not support SSL": "does not support TLS: remove sslmode from DATABASE_URL",
    "certificate": "has a certificate that cannot be verified: correct sslmode or sslrootcert in "
    "DATABASE_URL",
}
_NO_DATABASE = "has no database of that name: create it, or correct the name in DATABASE_URL"


def connection_fault(error: sqlalchemy.exc.DBAPIError) -> str:
    """Return why Postgres cannot be used, and what to do; never what it said itself."""
    said = str(error.orig)
    if 'database "' in said and "does not exist" in said:
        return _NO_DATABASE
    for words, fault in _UNREACHABLE.items():
        if words in said:
            return fault
    return "cannot be reached: is DATABASE_URL correct?"


def fault_line(error: sqlalchemy.exc.DBAPIError) -> str | None:
    """Return what is wrong and what to do; None where the fault is this program's own."""
    fault = _FAULTS.get(getattr(error.orig, "sqlstate", None) or "")
    if fault is None and isinstance(error, sqlalchemy.exc.OperationalError):
        return "DATABASE_URL: Postgres cannot be reached; run `session-worker check`."
    return fault
