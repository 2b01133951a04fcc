"""health: do the processes run, and are sessions, events and orders handled in time?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from config.settings import Settings, load
from worker.adapters.postgres.reports.events import EventReports
from worker.adapters.postgres.reports.health import HealthReports
from worker.adapters.postgres.reports.sessions import Reports, Row
from worker.commands.checked_lists import check_unread_lists
from worker.commands.checked_postgres import clock_finding, unconfigured_accounts
from worker.commands.checked_processes import processes, queues, refused_messages
from worker.commands.checked_reads import accounts, failing_sessions, is_governed
from worker.commands.findings import Finding, exit_code, print_findings
from worker.commands.output import counted
from worker.commands.probes import Probe, run_probes
from worker.commands.reading import reports


def health(*, late: timedelta, as_json: bool) -> int:
    """Report every fault of the deployment; return the exit code.

    Polls and events are late when they have been due or pending for longer than `late`.
    """
    settings = load(Settings)
    unread = Probe("broker", lambda: check_unread_lists(settings))
    with reports(HealthReports) as opened:
        now = opened.now()
        findings = [
            clock_finding(now),
            *processes(opened),
            *queues(opened),
            *_polls(opened, late),
            *_orders(opened, late),
            *accounts(opened, now),
            *failing_sessions(opened),
            *_deliveries(opened, settings, late),
            *unconfigured_accounts(opened, settings),
            *refused_messages(opened),
        ]
    findings += run_probes([unread])
    print_findings(findings, as_json=as_json)
    return exit_code(findings)


def _polls(opened: Reports, late: timedelta) -> Iterator[Finding]:
    overdue = opened.late(late)
    governed = {row["account"] for row in opened.accounts() if is_governed(row)}
    for row in overdue:
        is_slowed = row["account"] in governed
        why = "the read budget allows no more" if is_slowed else "are beat and a worker running?"
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
            business=True,
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


def _deliveries(opened: EventReports, settings: Settings, late: timedelta) -> Iterator[Finding]:
    """What is pending for a sink, and why; what was given up."""
    faults = [
        Finding(f"events to {row['sink']}", fault=fault, business=True)
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
