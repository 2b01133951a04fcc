"""Migrations as a deployment runs them: up, down, at once, without drift, and as SQL."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.databases import Databases
from tests.support.processes import BIN, NO_ENV_FILE

TABLES = {
    "accounts",
    "alembic_version",
    "outbox_deliveries",
    "outbox_messages",
    "payment_sessions",
    "status_transitions",
    "stream_generations",
    "webhook_endpoints",
}


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[str]:
    url = databases.create_empty()
    yield url
    databases.drop(url)


def alembic(url: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "alembic", *arguments],
        # Only what a release phase has: the database's address.
        env={**NO_ENV_FILE, "PATH": os.environ["PATH"], "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(process: subprocess.Popen[str]) -> str:
    """What it printed, after it ended well."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, f"{out}\n{err}"
    return out


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in rows}


def test_an_empty_database_is_brought_up_with_nothing_but_its_address(empty_database: str):
    ran(alembic(empty_database, "upgrade", "head"))

    assert tables(empty_database) == TABLES


def test_the_tables_are_what_the_code_takes_them_for(database_url: str):
    assert "No new upgrade operations detected" in ran(alembic(database_url, "check"))


def test_every_migration_goes_down_and_up_again(database_url: str):
    ran(alembic(database_url, "downgrade", "base"))
    assert tables(database_url) == {"alembic_version"}

    ran(alembic(database_url, "upgrade", "head"))
    assert tables(database_url) == TABLES
    assert "No new upgrade operations detected" in ran(alembic(database_url, "check"))


def test_upgrading_again_changes_nothing(database_url: str):
    ran(alembic(database_url, "upgrade", "head"))

    assert tables(database_url) == TABLES


def test_upgrades_at_once_wait_for_each_other(empty_database: str):
    all_at_once = [alembic(empty_database, "upgrade", "head") for _ in range(3)]

    for process in all_at_once:
        ran(process)

    assert tables(empty_database) == TABLES


def test_the_migrations_print_as_sql_for_those_who_run_it_themselves(empty_database: str):
    sql = ran(alembic(empty_database, "upgrade", "head", "--sql"))

    assert tables(empty_database) == set()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        # One by one, as psql does: an index built concurrently stands in no transaction.
        for statement in sql.split(";\n\n"):
            connection.execute(statement)
    assert tables(empty_database) == TABLES


def test_there_is_one_head():
    heads = ran(alembic("postgresql://nobody@127.0.0.1:1/none", "heads")).split()

    assert heads[1:] == ["(head)"]


def test_a_wrong_address_is_named_without_a_traceback():
    process = alembic("mysql://user:hidden@127.0.0.1/none", "upgrade", "head")
    _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "DATABASE_URL: must start with postgresql:// or postgres://" in err
    assert "hidden" not in err
    assert "Traceback" not in err
