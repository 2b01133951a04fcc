"""Error messages for people, one line each, about a database that cannot be used; no secrets."""

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
# Failed connections have no SQLSTATE, so these words are searched for in the message of Postgres or
# libpq. The message is never shown, because it names hosts and users.
_UNREACHABLE = {
    "password authentication failed": "refuses the user or the password in DATABASE_URL: correct "
    "them; special characters of a password must be escaped",
    "is not permitted to log in": "does not let DATABASE_URL's user log in: "
    "`ALTER ROLE ... LOGIN`, or name another user",
    "no pg_hba.conf entry": "does not let this machine in as DATABASE_URL's user: add it to "
    "pg_hba.conf, or `?sslmode=require` to DATABASE_URL",
    "failed to resolve host": "cannot be found: correct the host's name in DATABASE_URL",
    "Connection refused": "is not there: is it up, and are host and port in DATABASE_URL right?",
    "timeout": "does not answer in time: is there a firewall between, and is the host in "
    "DATABASE_URL right?",
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
    """Return why the connection to Postgres failed, and what to do."""
    message = str(error.orig)
    if 'database "' in message and "does not exist" in message:
        return _NO_DATABASE
    for words, fault in _UNREACHABLE.items():
        if words in message:
            return fault
    return "cannot be reached: is DATABASE_URL right?"


def fault_line(error: sqlalchemy.exc.DBAPIError) -> str | None:
    """Return what is wrong and what to do, or None for a bug of this program."""
    fault = _FAULTS.get(getattr(error.orig, "sqlstate", None) or "")
    if fault is None and isinstance(error, sqlalchemy.exc.OperationalError):
        return "DATABASE_URL: Postgres cannot be reached; run `session-worker check`."
    return fault
