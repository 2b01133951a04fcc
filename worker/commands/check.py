"""check and health: is the deployment right, and does it make progress?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from config.settings import InvalidSettingsError, Settings, load, parse
from worker.adapters.postgres.reports.events import EventReports
from worker.adapters.postgres.reports.sessions import Reports, Row
from worker.bootstrap.shared import poll_policy
from worker.commands.checked_environment import check_spelling
from worker.commands.checked_klarna import check_accounts
from worker.commands.checked_postgres import check_postgres
from worker.commands.checked_redis import check_broker, check_redis
from worker.commands.findings import Finding, exit_code, print_findings
from worker.commands.output import WRONG_USAGE
from worker.commands.reading import reports
from worker.commands.shop_systems import shop_systems
from worker.commands.unknown_accounts import accounts_of_open_sessions


def check(*, as_json: bool) -> int:
    """Look at everything a deployment needs, one line each; returns the exit code."""
    try:
        settings = parse(Settings)
        policy = poll_policy(settings)
    except InvalidSettingsError as error:
        faults = [Finding("settings", fault=fault) for fault in error.faults]
        print_findings([*faults, *check_spelling()], as_json=as_json)
        return WRONG_USAGE
    findings = [
        Finding("settings"),
        *check_spelling(),
        Finding("polling", detail=f"by the policy {policy.name}"),
        *check_postgres(settings),
        *check_redis(settings),
        check_broker(settings),
        *check_accounts(settings),
        *_check_webhooks(settings),
        *_check_shop_systems(settings),
    ]
    print_findings(findings, as_json=as_json)
    return exit_code(findings)


def health(*, late: timedelta, as_json: bool) -> int:
    """Look for progress: nothing due for longer than `late`, no event waiting that long."""
    settings = load(Settings)
    with reports(EventReports) as opened:
        findings = [
            *_progress(opened, late),
            *_deliveries(opened, settings, late),
            *accounts_of_open_sessions(opened, settings),
        ]
    print_findings(findings, as_json=as_json)
    return exit_code(findings)


def _check_webhooks(settings: Settings) -> Iterator[Finding]:
    """The address is no secret of ours, but it may be one of the receiver's: it is not shown."""
    for sink, endpoint in settings.webhooks.items():
        fault = None
        if sink not in settings.delivery_sinks:
            fault = "has an address, but EVENT_SINKS does not name webhook: nothing is sent to it"
        types = "all" if endpoint.events is None else len(endpoint.events)
        secrets = len(endpoint.secrets)
        yield Finding(sink, fault, detail=f"{types} event types, signed with {secrets} secrets")


def _check_shop_systems(settings: Settings) -> Iterator[Finding]:
    """Where orders are placed: is an access token granted?"""
    for sink, fault in shop_systems(settings).items():
        yield Finding(f"sink {sink}", fault=fault, detail="an access token was granted")


def _progress(opened: Reports, late: timedelta) -> Iterator[Finding]:
    seconds = f"{late.total_seconds():g} s"
    overdue = opened.late(late)
    accounts = {row["account"]: row for row in opened.accounts()}
    for row in overdue:
        waited = f"{row['oldest_seconds']:.0f} s"
        account = accounts.get(row["account"], {"interval_multiplier": 1, "budget_share": 1})
        governed = account["interval_multiplier"] > 1 or account["budget_share"] < 1
        why = "its quota pays for no more" if governed else "are beat and a worker up?"
        yield Finding(
            f"polls of {row['account']}",
            fault=f"{row['due']} are due, the oldest since {waited}: {why}",
        )
    if not overdue:
        yield Finding("polls", detail=f"none is due for longer than {seconds}")
    yield from _confirmations(opened, late)
    for row in opened.paused():
        yield Finding(
            f"account {row['account']}",
            fault="is refused by Klarna (401 or 403): correct its credentials, then restart "
            "worker and beat",
        )
    yield from _governed(accounts.values())


def _governed(accounts: Iterable[Row]) -> Iterator[Finding]:
    """What each account's quota and Klarna's answers make of its polling."""
    for row in accounts:
        if row["failing_since"]:
            since = row["failing_since"].isoformat(timespec="seconds")
            yield Finding(
                f"account {row['account']}",
                fault=f"its reads fail since {since}: it is probed until Klarna answers",
            )
        elif row["interval_multiplier"] > 1 or row["budget_share"] < 1:
            share = f"{row['budget_share']:.0%} of its budget"
            detail = (
                f"has {share}, and every interval is {row['interval_multiplier']:g} times as long"
            )
            yield Finding(f"account {row['account']}", detail=detail)


def _deliveries(opened: EventReports, settings: Settings, late: timedelta) -> Iterator[Finding]:
    """What waits for a sink, and why; what was given up."""
    faults = [
        Finding(f"events to {row['sink']}", fault=fault)
        for row in opened.sinks()
        for fault in _faults_of_sink(row, settings, late)
    ]
    yield from faults or [
        Finding("events", detail=f"none waits longer than {late.total_seconds():g} s")
    ]


def _faults_of_sink(row: Row, settings: Settings, late: timedelta) -> Iterator[str]:
    sink, waiting = row["sink"], row["waiting"]
    if row["died"]:
        yield f"{row['died']} died in the last day: `session-worker events dead --sink {sink}`"
    if sink not in settings.delivery_sinks:
        if waiting:
            yield (
                f"{waiting} wait, but EVENT_SINKS does not name it any more: name it, or "
                f"`session-worker events discard {sink}`"
            )
    elif row["disabled_at"]:
        yield (
            f"is disabled ({row['reason']}) and {waiting} wait: once it is right, "
            f"`session-worker events enable {sink}`"
        )
    elif (row["oldest_seconds"] or 0) > late.total_seconds():
        yield (
            f"{waiting} wait, the oldest since {row['oldest_seconds']:.0f} s: "
            f"`session-worker events list --sink {sink} --state pending`"
        )


def _confirmations(opened: Reports, late: timedelta) -> Iterator[Finding]:
    """Orders that are missing: too late, or in time but nobody is told."""
    lapsed = opened.lapsed()
    if lapsed["sessions"]:
        yield Finding(
            "orders",
            fault=f"{lapsed['sessions']} authorizations lapsed in the last day and no order was "
            f"confirmed, such as {lapsed['session_id']}: `session-worker list --unconfirmed`",
        )
    for row in opened.overdue_warnings(late):
        yield Finding(
            "warnings of missing orders",
            fault=f"{row['sessions']} are due, the oldest since {row['oldest_seconds']:.0f} s: "
            "is beat up?",
        )
    if not lapsed["sessions"]:
        counts = (f"{row['sessions']} with {row['time_left']}" for row in opened.unconfirmed())
        waiting = ", ".join(counts)
        yield Finding("orders", detail=f"awaited: {waiting}" if waiting else "none is missing")
