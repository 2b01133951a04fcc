"""The state of accounts in Postgres, written only against the version it was read with."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.adapters.postgres.engine import one_statement
from worker.adapters.postgres.literals import interval
from worker.adapters.postgres.sessions.record_sql import ACCOUNT_STATE
from worker.adapters.postgres.sessions.rows import ACCOUNT_COLUMNS, account_from_row
from worker.domain.account import BREAKER_FAILURES, AccountState
from worker.domain.quota import MULTIPLIER_STEP_EVERY
from worker.services.governor import AccountsRead

# Beat alone sets the interval multiplier, in a statement of its own.
_SAVED = tuple(name for name in ACCOUNT_COLUMNS if name not in {"version", "interval_multiplier"})

_STATES = text(f"""
    SELECT wanted.account, {ACCOUNT_STATE}, clock_timestamp() AS read_at
    FROM unnest(CAST(:accounts AS text[])) AS wanted(account)
    LEFT JOIN accounts AS a USING (account)
""")  # noqa: S608 - constants of this module

# A successful read also overwrites failures counted since, until the circuit breaker is open.
_SAVE = text(f"""
    INSERT INTO accounts (account, version, {", ".join(_SAVED)})
    VALUES (:account, 1, {", ".join(f":{name}" for name in _SAVED)})
    ON CONFLICT (account) DO UPDATE
    SET version = accounts.version + 1,
        {", ".join(f"{name} = EXCLUDED.{name}" for name in _SAVED)}
    WHERE accounts.version = :version
        OR (:was_reached AND accounts.failures BETWEEN 1 AND {BREAKER_FAILURES - 1})
    RETURNING version
""")  # noqa: S608 - constants of this module

# At most one step a second, however many beats run.
_SET_INTERVAL_MULTIPLIER = text(f"""
    INSERT INTO accounts (account, version, stretch, stretched_at)
    VALUES (:account, 0, :after, clock_timestamp())
    ON CONFLICT (account) DO UPDATE
    SET stretch = EXCLUDED.stretch, stretched_at = EXCLUDED.stretched_at
    WHERE accounts.stretch = :before
        AND COALESCE(accounts.stretched_at, '-infinity')
            <= clock_timestamp() - {interval(MULTIPLIER_STEP_EVERY)}
    RETURNING stretch
""")  # noqa: S608 - a constant of the domain


class PostgresAccounts:
    """Implements the port `Accounts`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self, names: Collection[str]) -> AccountsRead:
        """Return the state of these accounts; one without a row has the initial state."""
        async with one_statement(self._engine) as connection:
            found = await connection.execute(_STATES, {"accounts": list(names)})
            rows = found.mappings().all()
        return AccountsRead(
            states={row["account"]: account_from_row(row) for row in rows},
            at=max(row["read_at"] for row in rows),
        )

    async def set_interval_multiplier(self, name: str, *, before: float, after: float) -> bool:
        """Change the multiplier from `before` to `after`; False if another beat was first."""
        async with one_statement(self._engine) as connection:
            found = await connection.execute(
                _SET_INTERVAL_MULTIPLIER, {"account": name, "before": before, "after": after}
            )
            return found.first() is not None


async def save_account(
    engine: AsyncEngine, name: str, *, before: AccountState, after: AccountState
) -> bool:
    """Write an account's new state; False if another process was first."""
    values: dict[str, Any] = {field: getattr(after, field) for field in _SAVED}
    was_reached = before.failures > 0 and after.failures == 0
    async with one_statement(engine) as connection:
        found = await connection.execute(
            _SAVE,
            values | {"account": name, "version": before.version, "was_reached": was_reached},
        )
        return found.first() is not None
