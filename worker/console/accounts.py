"""How an account is doing, in the words of the overview; the domain says what it may do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from worker.console.wording import span
from worker.domain.account import AccountState, Breaker

Row = Mapping[str, Any]

_FIELDS = tuple(field.name for field in fields(AccountState))


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLine:
    """One line of the table of accounts; `share` is what of its budget it may use, in hundredths.

    `limit` is Klarna's, in reads a second, where its answers name one.
    """

    account: str
    state: str
    css: str
    until: datetime | None
    share: float
    limit: float | None
    stretch: float
    last_read_at: datetime | None


def account_line(row: Row) -> AccountLine:
    """Answer what a row of `accounts`, with the time it was asked at, says to a person."""
    account = AccountState(**{name: row[name] for name in _FIELDS})
    now = row["asked_at"]
    state, css = _state(account, now)
    return AccountLine(
        account=row["account"],
        state=state,
        css=css,
        until=account.paused_until if account.is_paused(now) else None,
        share=round(100 * account.share(now) * account.ramp(now)),
        limit=account.read_limit,
        stretch=account.stretch,
        last_read_at=account.last_read_at,
    )


def _state(account: AccountState, now: datetime) -> tuple[str, str]:
    if account.refusals:
        return "refused by Klarna: check its credentials", "bad"
    if account.is_broken:
        since = f" for {span(now - account.failing_since)}" if account.failing_since else ""
        return f"its reads fail{since}: breaker open, probing", "bad"
    if account.is_paused(now):
        return "paused by Klarna (429)", "warn"
    if account.breaker(now) is Breaker.RAMPING:
        return "came back: asked more and more again", "warn"
    return "reading", "good"
