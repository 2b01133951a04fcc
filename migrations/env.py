"""Runs the migrations, one process at a time, with bounded waits for locks that traffic holds."""

from __future__ import annotations

import time

from alembic import context
from sqlalchemy import Connection, create_engine, make_url, pool, text

from config.env_file import load_env_files
from config.settings import DatabaseSettings, load
from worker.adapters.postgres.pgbouncer import is_pooled
from worker.adapters.postgres.tables import metadata

# An arbitrary number, the same in every release, so that two migrations cannot run at once.
_ADVISORY_LOCK = 7_526_114_093_501
_LOCK_RETRY_SECONDS = 0.5
_LOCK_TRIES = 600


def _migrate(connection: Connection) -> None:
    _lock_migrations(connection)
    _bound_waits(connection)
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_server_default=True,
        transaction_per_migration=True,
        # A migration that builds an index waits without bound; those after it must not.
        on_version_apply=lambda **applied: _bound_waits(applied["ctx"].connection),
    )
    with context.begin_transaction():
        context.run_migrations()


def _bound_waits(connection: Connection) -> None:
    connection.execute(text("SET lock_timeout = '4s'"))
    connection.execute(text("SET statement_timeout = '60s'"))


def _lock_migrations(connection: Connection) -> None:
    """Wait for another migration to end, by polling.

    A waiting `pg_advisory_lock` would hold a snapshot, and block an index that the other migration
    builds concurrently.
    """
    for _ in range(_LOCK_TRIES):
        taken = connection.scalar(
            text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_LOCK}
        )
        connection.commit()
        if taken:
            return
        time.sleep(_LOCK_RETRY_SECONDS)
    raise SystemExit("Another migration has been running for five minutes: look at it first.")


def _migrate_online() -> None:
    url = load(DatabaseSettings).database_url.get_secret_value()
    if is_pooled(make_url(url)):
        # The lock and the timeouts belong to a session, which PgBouncer does not keep.
        raise SystemExit("Migrate past PgBouncer: DATABASE_URL of Postgres itself is needed.")
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        _migrate(connection)


def _print_sql() -> None:
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


# Run as the `alembic` command; commands of ours have read it already.
if context.config.cmd_opts is not None:
    load_env_files()

if context.is_offline_mode():
    _print_sql()
else:
    _migrate_online()
