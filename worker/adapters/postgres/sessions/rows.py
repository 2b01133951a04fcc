"""Maps payment sessions and accounts to rows and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any

from sqlalchemy import Column, RowMapping, Table

from worker.domain.account import AccountState
from worker.domain.session import Kind, Outcome, PaymentSession
from worker.services.sessions import LeasedSession
from worker.services.tokens import TokenCipher

_LOADED_FIELDS = tuple(
    field.name
    for field in fields(PaymentSession)
    if field.name not in {"authorization_token", "holds_token"}
)

# Each field of an account and its column.
ACCOUNT_COLUMNS = {
    field.name: "stretch" if field.name == "interval_multiplier" else field.name
    for field in fields(AccountState)
}

# The columns that a poll may change, with their types.
RECORDED_COLUMNS = {
    "status": "text",
    "status_updated_at": "timestamptz",
    "status_observed_at": "timestamptz",
    "expires_at": "timestamptz",
    "outcome": "text",
    "finished_at": "timestamptz",
    "next_poll_at": "timestamptz",
    "ideal_interval_seconds": "double precision",
    "poll_count": "integer",
    "consecutive_failures": "integer",
    "failing_since": "timestamptz",
    "last_polled_at": "timestamptz",
    "last_read_at": "timestamptz",
    "last_error": "text",
    "not_found_count": "integer",
    "not_found_since": "timestamptz",
    "transition_count": "integer",
    "event_count": "integer",
    "order_id": "text",
    "klarna_reference": "text",
    "authorization_expires_at": "timestamptz",
    "next_warning_at": "timestamptz",
}


def columns_without_token(sessions: Table) -> list[Column[Any]]:
    """Return all columns of payment_sessions but the token, which most queries do not need."""
    return [column for column in sessions.columns if column.name != "authorization_token"]


def session_from_row(row: RowMapping) -> PaymentSession:
    """Return the session of a row, without its token; `holds_token` if the row has the column."""
    values = {name: row[name] for name in _LOADED_FIELDS}
    values["kind"] = Kind(values["kind"])
    for name in ("outcome", "guessed_outcome"):
        values[name] = Outcome(values[name]) if values[name] else None
    return PaymentSession(**values, holds_token=row.get("authorization_token") is not None)


def session_values(session: PaymentSession) -> dict[str, Any]:
    """Return the session's columns, without its token."""
    return {name: _plain(getattr(session, name)) for name in _LOADED_FIELDS}


def recorded_row(
    leased: LeasedSession, after: PaymentSession, *, may_repeat: bool, cipher: TokenCipher
) -> dict[str, Any]:
    """Return one row for the record statement.

    `may_repeat`: if the session was nudged since it was loaded, the lease is kept, so that it is
    polled again at once.
    """
    row = {name: _plain(getattr(after, name)) for name in RECORDED_COLUMNS}
    token = after.authorization_token
    return row | {
        "session_id": after.session_id,
        "lease_id": leased.lease_id,
        "loaded_at": leased.loaded_at,
        "may_repeat": may_repeat,
        "authorization_token": rf"\x{cipher.encrypt(token).hex()}" if token else None,
    }


def leased_from_row(row: RowMapping) -> LeasedSession:
    """Return the session of a row of the load statement, with account, lease and time."""
    return LeasedSession(
        session=session_from_row(row),
        account=account_from_row(row),
        lease_id=row["lease_id"],
        loaded_at=row["loaded_at"],
        trace_parent=row["trace_parent"],
    )


def account_from_row(row: RowMapping | Mapping[str, Any]) -> AccountState:
    """Return the account's state from columns `account_…`; the initial one if it has no row."""
    if row["account_version"] is None:
        return AccountState()
    return AccountState(**{name: row[f"account_{name}"] for name in ACCOUNT_COLUMNS})


def with_polls(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with `polls`, oldest first, instead of their stored form."""
    stored = reversed(row.pop("polled_seconds") or [])
    polls = [(~seconds, True) if seconds < 0 else (seconds, False) for seconds in stored]
    return row | {
        "polls": [
            {"at": row["tracked_at"] + timedelta(seconds=seconds), "failed": failed}
            for seconds, failed in polls
        ]
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    return str(value) if isinstance(value, (Kind, Outcome)) else value
