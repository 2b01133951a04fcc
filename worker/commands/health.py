"""health: are sessions polled, events delivered and orders placed in time?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from config.settings import Settings, load
from worker.adapters.postgres.reports.events import EventReports
from worker.adapters.postgres.reports.sessions import Reports, Row
from worker.commands.checked_postgres import unconfigured_accounts
from worker.commands.findings import Finding, exit_code, print_findings
from worker.commands.output import counted
from worker.commands.reading import reports


def health(*, late: timedelta, as_json: bool) -> int:
    """Report what has been due or pending for longer than `late`; return the exit code."""
    settings = load(Settings)
    with reports(EventReports) as opened:
        findings = [
            *_polls(opened, late),
            *_orders(opened, late),
            *_accounts(opened),
            *_deliveries(opened, settings, late),
            *unconfigured_accounts(opened, settings),
        ]
    print_findings(findings, as_json=as_json)
    return exit_code(findings)


def _polls(opened: Reports, late: timedelta) -> Iterator[Finding]:
    overdue = opened.late(late)
    governed = {row["account"] for row in opened.accounts() if _is_governed(row)}
    for row in overdue:
        is_governed = row["account"] in governed
        why = "the read budget allows no more" if is_governed else "are beat and a worker running?"
        yield Finding(
            f"polls of {row['account']}",
            fault=f"{row['due']} due, the oldest for {row['oldest_seconds']:.0f} s: {why}",
        )
    if not overdue:
        yield Finding("polls", detail=f"none due for more than {late.total_seconds():g} s")


def _orders(opened: Reports, late: timedelta) -> Iterator[Finding]:
    """Orders that are missing: too late, or in time but without a warning."""
    lapsed = opened.lapsed()
    if lapsed["sessions"]:
        yield Finding(
            "orders",
            fault=f"{counted(lapsed['sessions'], 'authorization')} lapsed in the last 24 h "
            f"without a confirmed order, such as {lapsed['session_id']}: "
            "`session-worker list --unconfirmed`",
        )
    for row in opened.overdue_warnings(late):
        yield Finding(
            "warnings of missing orders",
            fault=f"{row['sessions']} due, the oldest for {row['oldest_seconds']:.0f} s: "
            "is beat running?",
        )
    if not lapsed["sessions"]:
        counts = (f"{row['sessions']} with {row['time_left']}" for row in opened.unconfirmed())
        pending = ", ".join(counts)
        yield Finding(
            "orders", detail=f"not confirmed yet: {pending}" if pending else "none missing"
        )


def _accounts(opened: Reports) -> Iterator[Finding]:
    for row in opened.paused():
        yield Finding(
            f"account {row['account']}",
            fault="is refused by Klarna (401 or 403): correct its credentials, then restart "
            "worker and beat",
        )
    yield from _governed(opened.accounts())


def _governed(accounts: Iterable[Row]) -> Iterator[Finding]:
    """Accounts that are read less than usual, and why."""
    for row in accounts:
        if row["failing_since"]:
            since = row["failing_since"].isoformat(timespec="seconds")
            yield Finding(
                f"account {row['account']}",
                fault=f"reads have failed since {since}: it is probed until Klarna answers",
            )
        elif _is_governed(row):
            share, multiplier = f"{row['budget_share']:.0%}", f"{row['interval_multiplier']:g}"
            yield Finding(
                f"account {row['account']}",
                detail=f"{share} of its read budget, poll intervals multiplied by {multiplier}",
            )


def _is_governed(account: Row) -> bool:
    return bool(account["interval_multiplier"] > 1 or account["budget_share"] < 1)


def _deliveries(opened: EventReports, settings: Settings, late: timedelta) -> Iterator[Finding]:
    """What is pending for a sink, and why; what was given up."""
    faults = [
        Finding(f"events to {row['sink']}", fault=fault)
        for row in opened.sinks()
        for fault in _faults_of_sink(row, settings, late)
    ]
    yield from faults or [
        Finding("events", detail=f"none pending for more than {late.total_seconds():g} s")
    ]


def _faults_of_sink(row: Row, settings: Settings, late: timedelta) -> Iterator[str]:
    sink, pending = row["sink"], row["waiting"]
    if row["dead_lettered"]:
        given_up = "delivery was" if row["dead_lettered"] == 1 else "deliveries were"
        yield (
            f"{row['dead_lettered']} {given_up} given up in the last 24 h: "
            f"`session-worker events dead --sink {sink}`"
        )
    if sink not in settings.delivery_sinks:
        if pending:
            yield (
                f"{pending} pending, but EVENT_SINKS does not name this sink: add it, or "
                f"`session-worker events discard {sink}`"
            )
    elif row["disabled_at"]:
        yield (
            f"disabled ({row['reason']}), {pending} pending: once it is repaired, "
            f"`session-worker events enable {sink}`"
        )
    elif (row["oldest_seconds"] or 0) > late.total_seconds():
        yield (
            f"{pending} pending, the oldest for {row['oldest_seconds']:.0f} s: "
            f"`session-worker events list --sink {sink} --state pending`"
        )
