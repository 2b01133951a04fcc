"""The roles of docs/roles.sql can do what their job is, and nothing else.

That the worker's is enough is shown by the run of test_canaries.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from tests.support import sql_shop
from tests.support.commands import run_commands
from tests.support.databases import migrate
from tests.support.roles import Job, Roles
from tests.support.stored import Stored
from worker.adapters.postgres.tables import metadata, payment_sessions

TABLES = sorted(metadata.tables)
ALL = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}
WRITES = {"SELECT", "INSERT", "UPDATE"}
GRANTED: dict[Job, dict[str, set[str]]] = {
    "worker": {
        "accounts": WRITES,
        "alembic_version": {"SELECT"},
        "outbox_deliveries": WRITES,
        "outbox_messages": {"SELECT", "INSERT"},
        "payment_sessions": WRITES | {"DELETE"},
        "status_transitions": {"SELECT", "INSERT"},
        "stream_generations": WRITES,
        "webhook_endpoints": WRITES,
    },
    "reader": {
        table: {"SELECT"} for table in [*TABLES, "alembic_version"] if table != "payment_sessions"
    }
    | {"payment_sessions": set()},
    "shop": {table: set() for table in [*TABLES, "alembic_version"]},
}
DDL = (
    "CREATE TABLE mine (id integer)",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "ALTER TABLE payment_sessions ADD COLUMN mine text",
    "CREATE INDEX mine ON payment_sessions (reference)",
    "DROP TABLE status_transitions",
    "TRUNCATE accounts",
    "ALTER TABLE accounts OWNER TO CURRENT_USER",
    "ALTER TABLE payment_sessions DISABLE TRIGGER ALL",
)


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        # The role's own bound apart: what counts is what it is allowed.
        connection.execute("SET default_transaction_read_only = off")
        yield connection


@pytest.mark.parametrize("job", ["worker", "reader", "shop"])
def test_each_role_is_granted_just_this_on_every_table(roles: Roles, stored: Stored, job: Job):
    granted = {
        table: {
            privilege
            for privilege in ALL
            if stored.value(
                "SELECT has_table_privilege(%s, %s, %s)", roles.name(job), table, privilege
            )
        }
        for table in [*TABLES, "alembic_version"]
    }

    assert granted == GRANTED[job]


@pytest.mark.parametrize("job", ["worker", "reader", "shop"])
def test_nobody_but_the_migration_role_can_change_what_there_is(roles: Roles, job: Job):
    with _connected(roles.url(job)) as connection:
        for statement in DDL:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_history_is_not_the_workers_to_change(roles: Roles):
    with _connected(roles.url("worker")) as connection:
        for statement in (
            "UPDATE status_transitions SET to_status = 'COMPLETED'",
            "DELETE FROM status_transitions",
            "UPDATE outbox_messages SET payload = '{}'",
            "DELETE FROM outbox_messages",
            "DELETE FROM outbox_deliveries",
            "DELETE FROM accounts",
            "UPDATE alembic_version SET version_num = ''",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_worker_deletes_a_session_with_all_that_hangs_on_it(roles: Roles, stored: Stored):
    stored.add_session("done")
    stored.add_message("done", 1)

    with _connected(roles.url("worker")) as connection:
        connection.execute("DELETE FROM payment_sessions")

    assert stored.rows("SELECT * FROM outbox_messages") == []
    assert stored.rows("SELECT * FROM outbox_deliveries") == []


def test_the_reader_reads_every_column_but_the_token(roles: Roles, stored: Stored):
    stored.add_session("one", authorization_token=b"encrypted")
    others = {column.name for column in payment_sessions.columns} - {"authorization_token"}

    with _connected(roles.url("reader")) as connection:
        columns = sql.SQL(", ").join(map(sql.Identifier, sorted(others)))
        read = connection.execute(sql.SQL("SELECT {} FROM payment_sessions").format(columns))
        assert len(read.fetchall()) == 1
        for statement in (
            "SELECT * FROM payment_sessions",
            "SELECT authorization_token FROM payment_sessions",
            "SELECT session_id FROM payment_sessions WHERE authorization_token IS NULL",
            "SELECT payment_sessions::text FROM payment_sessions",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_reader_writes_nothing(roles: Roles, stored: Stored):
    stored.add_session("one")
    with _connected(roles.url("reader")) as connection:
        for statement in (
            "INSERT INTO accounts (account, version) VALUES ('mine', 1)",
            "UPDATE payment_sessions SET next_poll_at = now()",
            "SELECT session_id FROM payment_sessions FOR UPDATE",
            "DELETE FROM payment_sessions",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_shops_role_tracks_and_sees_nothing(roles: Roles, stored: Stored):
    """Rows of payment sessions are the function's to write, and nobody else's of the shop."""
    with _connected(roles.url("shop")) as connection:
        assert sql_shop.track(connection, "one", reference="order-1") is True
        for statement in (
            "SELECT session_id FROM payment_sessions",
            "INSERT INTO payment_sessions (session_id) VALUES ('two')",
            "UPDATE payment_sessions SET reference = 'order-2'",
            "DELETE FROM payment_sessions",
            "SELECT * FROM outbox_messages",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)

    assert stored.session("one")["reference"] == "order-1"


@pytest.mark.parametrize("job", ["worker", "reader"])
def test_only_a_role_that_was_granted_it_may_track_in_sql(roles: Roles, job: Job):
    with (
        _connected(roles.url(job)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        sql_shop.track(connection, "one")


def test_a_command_says_in_one_line_that_its_role_may_not(
    roles: Roles, environment: dict[str, str]
):
    reading = environment | {"DATABASE_URL": roles.url("reader")}

    said = run_commands(reading, ["rotate-keys"], ["erase", "one", "--yes"])

    refusal = "DATABASE_URL: its role is not allowed to do this; docs/roles.sql says which is.\n"
    assert (said["erase"].code, said["erase"].text) == (1, refusal)
    # Where the token cannot be read there is nothing to encrypt anew, and the output says so.
    assert (said["rotate-keys"].code, said["rotate-keys"].text) == (1, refusal)


def test_migrations_run_as_their_own_role_and_the_grants_can_be_given_again(
    roles: Roles, stored: Stored
):
    """Down and up makes every table anew, owned by the role; then the others may use them again."""
    migrate(roles.url("migration"), "base", command="downgrade")
    migrate(roles.url("migration"))
    roles.grant()
    roles.grant()

    owners = {
        row["tableowner"]
        for row in stored.rows("SELECT tableowner FROM pg_tables WHERE schemaname = 'public'")
    }
    assert owners == {roles.name("migration")}
    for url in (roles.url("worker"), roles.url("reader")):
        with _connected(url) as connection:
            connection.execute("SELECT session_id FROM payment_sessions")
