"""Findings of `health` about reads: accounts and sessions whose reads are refused or fail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from worker.adapters.postgres.reports.health import HealthReports
from worker.adapters.postgres.reports.sessions import Row
from worker.commands.findings import Finding
from worker.commands.output import since
from worker.domain.account import READ_STORED_EVERY
from worker.domain.health import READS_FAIL_AFTER, SESSIONS_IN_VAIN


def accounts(opened: HealthReports, now: datetime) -> Iterator[Finding]:
    """Return a finding for each account that is read less than usual, or in vain."""
    explained = set()
    for row in opened.accounts():
        for finding in _account(row, now):
            yield finding
            if finding.fault is not None:
                explained.add(row["account"])
    for row in opened.read_in_vain():
        lasting = row["failing_seconds"] >= READS_FAIL_AFTER.total_seconds()
        if row["sessions"] >= SESSIONS_IN_VAIN and lasting and row["account"] not in explained:
            yield Finding(f"account {row['account']}", fault=_in_vain(row))


def failing_sessions(opened: HealthReports) -> Iterator[Finding]:
    """Return one line for all sessions that go on failing; a single one is only a warning."""
    worst = opened.worst_failing_session()
    if worst is None:
        return
    count = worst["sessions"]
    subject = "1 session goes" if count == 1 else f"{count} sessions go"
    line = (
        f"{subject} on failing, the worst is {worst['session_id']} of {worst['account']}: "
        f"{worst['consecutive_failures']} failures since {since(worst['failing_since'])} "
        f"({worst['last_error']}): `session-worker show {worst['session_id']}`"
    )
    is_fault = count >= SESSIONS_IN_VAIN
    yield Finding(
        "failing sessions", fault=line if is_fault else None, warning=None if is_fault else line
    )


def is_governed(account: Row) -> bool:
    """Return whether the account is read less than usual, within its budget."""
    return bool(account["interval_multiplier"] > 1 or account["budget_share"] < 1)


def _account(row: Row, now: datetime) -> Iterator[Finding]:
    subject, failing_since = f"account {row['account']}", row["failing_since"]
    if row["refusals"]:
        began = f" since {since(failing_since)}" if failing_since else ""
        line = (
            f"is refused by Klarna (401 or 403){began}, {_next_probe(row, now)}: correct its "
            "credentials, then restart worker and beat"
        )
        yield _lasting(subject, line, failing_since, now, business=True)
    elif failing_since:
        line = (
            f"reads have failed since {since(failing_since)}, {_next_probe(row, now)}: is Klarna, "
            "or your network, proxy or firewall at fault?"
        )
        yield _lasting(subject, line, failing_since, now)
    elif is_governed(row):
        share, multiplier = f"{row['budget_share']:.0%}", f"{row['interval_multiplier']:g}"
        yield Finding(
            subject, detail=f"{share} of its read budget, poll intervals multiplied by {multiplier}"
        )


def _lasting(
    subject: str, line: str, began: datetime | None, now: datetime, *, business: bool = False
) -> Finding:
    """Return a fault, or a warning while it may be over in a moment."""
    if began is None or now - began >= READS_FAIL_AFTER:
        return Finding(subject, fault=line, business=business)
    return Finding(subject, warning=line)


def _next_probe(row: Row, now: datetime) -> str:
    at: datetime | None = row["paused_until"]
    if at is None or at <= now:
        return "the next probe is due now"
    return f"the next probe is at {since(at)} (in {(at - now).total_seconds():.0f} s)"


def _in_vain(row: Row) -> str:
    last_read_at, failing_since = row["last_read_at"], row["failing_since"]
    # A healthy read is not stored each time.
    is_old = timedelta(seconds=row["read_seconds"] or 0) > 2 * READ_STORED_EVERY
    if last_read_at is None:
        reads = "no read of it has ever succeeded, "
    elif last_read_at <= failing_since and is_old:
        reads = f"no read of it has succeeded for {row['read_seconds']:.0f} s, "
    else:
        reads = ""
    return (
        f"{reads}{row['sessions']} sessions have been read in vain five times or more since "
        f"{since(failing_since)}, most often: {row['reason']}; `session-worker check` tries the "
        "account"
    )
