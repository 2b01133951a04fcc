"""The state of accounts, as reports show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from worker.adapters.postgres.sessions.record_sql import ACCOUNT_STATE
from worker.adapters.postgres.sessions.rows import account_from_row

ACCOUNTS = text(f"""
    SELECT a.account, {ACCOUNT_STATE}, statement_timestamp() AS asked_at
    FROM accounts AS a
    ORDER BY 1
""")  # noqa: S608 - a constant of another module


def account(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of ACCOUNTS as reports show it.

    `failing_since` is null unless its reads are refused, or the circuit breaker is open.
    `read_limit` is in reads a second, from Klarna's answers; `budget_share` is the usable share of
    the budget now, from 0 to 1.
    """
    state, now = account_from_row(row), row["asked_at"]
    return {
        "account": row["account"],
        "paused_until": state.paused_until,
        "paused": state.is_paused(now),
        "refusals": state.refusals,
        "throttles": state.throttles,
        "breaker": str(state.breaker(now)),
        "failing_since": state.failing_since if state.is_probed else None,
        "read_limit": state.read_limit,
        "budget_share": round(state.share(now) * state.ramp(now), 2),
        "interval_multiplier": round(state.interval_multiplier, 2),
        "last_read_at": state.last_read_at,
    }
