"""PgBouncer in transaction mode before Postgres, with fewer connections than a worker has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text

from devkit.sandbox.server import SandboxClient
from tests.support.command import session_worker
from tests.support.deployment import Deployment
from tests.support.pgbouncer import CONNECTIONS, pgbouncer
from tests.support.processes import BIN
from worker.adapters.postgres.engine import create_engine, transaction

# What each transaction must run under, and no other program's.
SERVER_SETTINGS = {
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
    "TimeZone": "UTC",
}


@pytest.fixture
def behind(environment: dict[str, str], temporary: Path) -> Iterator[str]:
    """DATABASE_URL of the same database behind PgBouncer."""
    with pgbouncer(environment["DATABASE_URL"], temporary) as url:
        yield url


def test_sessions_are_tracked_polled_and_notified_of_through_pgbouncer(
    deployment: Deployment, sandbox: SandboxClient, behind: str
):
    started = [
        deployment.start(role, wait=False, DATABASE_URL=behind)
        for role in ("worker", "worker", "beat")
    ]
    for process in started:
        process.wait_until_ready()
    steps = [[0, "WAITING"], [1, "IN_PROGRESS"], [2, "COMPLETED"]]
    created = sandbox.create_sessions([{"steps": steps}] * 60)
    ids = [session["session_id"] for session in created]

    for session_id in ids:
        deployment.track(session_id)

    assert set(deployment.wait_for_outcomes(*ids).values()) == {"completed"}
    deployment.assert_invariants()
    (connected,) = deployment.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND application_name = 'klarna-session-worker'"
    )
    assert 0 < connected["count"] <= CONNECTIONS
    pooled = deployment.environment | {"DATABASE_URL": behind}
    for command in (["health"], ["stats"], ["show", ids[0]], ["events", "list"]):
        ran = session_worker(pooled, *command)
        assert ran.code == 0, ran.err
    checked = session_worker(pooled, "check").out
    assert "ok    postgres: " in checked
    assert "ok    rehearsal: " in checked


def test_each_transaction_runs_under_its_own_settings_and_leaves_none(behind: str):
    url = behind.replace("postgresql://", "postgresql+psycopg://")

    async def shown() -> tuple[dict[str, str], dict[str, str]]:
        engine = create_engine(url)
        bare = create_engine(url)
        async with transaction(engine) as connection:
            within = {
                name: await connection.scalar(text(f"SHOW {name}")) for name in SERVER_SETTINGS
            }
        async with bare.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            after = {
                name: await connection.scalar(text(f"SHOW {name}")) for name in SERVER_SETTINGS
            }
        await engine.dispose()
        await bare.dispose()
        return within, after

    within, after = anyio.run(shown)
    assert within == SERVER_SETTINGS
    assert "10s" not in after.values()
    assert "5s" not in after.values()


def test_migrations_refuse_to_run_through_pgbouncer(behind: str):
    ran = subprocess.run(
        [BIN / "alembic", "upgrade", "head"],
        env={**os.environ, "DATABASE_URL": behind},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 1
    assert "Migrate past PgBouncer" in ran.stderr
