"""Units of work over a real connection: autocommit, and prepared statements after migrations."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.stored import Stored
from worker.adapters.postgres.engine import one_statement, transaction
from worker.adapters.postgres.sessions.record_sql import ASYNC_COMMIT
from worker.services.errors import UnavailableError

pytestmark = pytest.mark.anyio

_COUNTS = text("SELECT poll_count FROM payment_sessions")


async def test_a_prepared_statement_that_a_migration_made_wrong_fails_once(
    engine: AsyncEngine, stored: Stored
):
    stored.add_session("s1")

    async def count() -> int:
        async with one_statement(engine) as connection:
            return (await connection.execute(_COUNTS)).scalar_one()

    # So often that it is prepared.
    assert [await count() for _ in range(10)] == [0] * 10
    stored.rows("ALTER TABLE payment_sessions ALTER COLUMN poll_count TYPE bigint")

    with pytest.raises(UnavailableError, match="0A000"):
        await count()
    assert await count() == 0


async def test_a_transaction_that_fails_leaves_nothing(engine: AsyncEngine, stored: Stored):
    stored.add_session("s1")

    async def change_and_fail() -> None:
        async with transaction(engine) as connection:
            await connection.execute(text("UPDATE payment_sessions SET poll_count = 7"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await change_and_fail()

    assert stored.session("s1")["poll_count"] == 0


async def test_what_need_not_be_durable_is_so_for_its_statement_alone(engine: AsyncEngine):
    said = text("SHOW synchronous_commit")
    async with one_statement(engine) as connection:
        await connection.execute(text(f"SELECT {ASYNC_COMMIT}"))
        assert (await connection.execute(said)).scalar_one() == "on"
    async with transaction(engine) as connection:
        await connection.execute(text(f"SELECT {ASYNC_COMMIT}"))
        assert (await connection.execute(said)).scalar_one() == "off"
