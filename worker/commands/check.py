"""check and health: is the deployment right, and does it make progress?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import redis
import sqlalchemy.exc
from celery import Celery
from kombu.exceptions import OperationalError
from rich.text import Text

from config.settings import InvalidSettingsError, Settings, load, parse
from worker.adapters.postgres.event_reports import EventReports
from worker.adapters.postgres.reports import Reports, Row
from worker.bootstrap import allowances, poll_policy
from worker.commands.migrating import head_revision
from worker.commands.output import FAILED, WRONG_USAGE, console, print_json, printable
from worker.commands.reading import reports
from worker.commands.shop_systems import shop_systems

INSUFFICIENT_PRIVILEGE = "42501"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check` or `health`: what was looked at, and what is wrong, if anything."""

    subject: str
    fault: str | None = None
    detail: str = ""


def check(*, as_json: bool) -> int:
    """Look at everything a deployment needs, one line each; answers the exit code."""
    try:
        settings = parse(Settings)
        policy = poll_policy(settings)
    except InvalidSettingsError as error:
        _print([Finding("settings", fault=fault) for fault in error.faults], as_json=as_json)
        return WRONG_USAGE
    findings = [
        Finding("settings"),
        Finding("polling", detail=f"by the policy {policy.name}"),
        *_check_postgres(settings),
        _check_redis(settings),
        _check_broker(settings),
        *_check_accounts(settings),
        *_check_webhooks(settings),
        *_check_shop_systems(settings),
    ]
    _print(findings, as_json=as_json)
    return _code(findings)


def health(*, late: timedelta, as_json: bool) -> int:
    """Look for progress: nothing due for longer than `late`, no event waiting that long."""
    settings = load(Settings)
    with reports(EventReports) as opened:
        findings = [
            *_progress(opened, late),
            *_deliveries(opened, settings, late),
            *_accounts_of_open_sessions(opened, settings),
        ]
    _print(findings, as_json=as_json)
    return _code(findings)


def _check_postgres(settings: Settings) -> Iterator[Finding]:
    try:
        with Reports(settings.database_url.get_secret_value()) as opened:
            revision, head = opened.revision(), head_revision()
            fault = None
            if revision != head:
                fault = f"is at migration {revision}, not {head}: run `alembic upgrade head`"
            yield Finding("postgres", fault, detail=f"migrated to {revision}")
            yield from _accounts_of_open_sessions(opened, settings)
    except sqlalchemy.exc.ProgrammingError as error:
        if getattr(error.orig, "sqlstate", "") == INSUFFICIENT_PRIVILEGE:
            yield Finding("postgres", fault="does not let DATABASE_URL's role read: docs/roles.sql")
        else:
            yield Finding("postgres", fault="is not migrated: run `alembic upgrade head`")
    except sqlalchemy.exc.SQLAlchemyError:
        yield Finding("postgres", fault="cannot be reached: DATABASE_URL")


def _check_redis(settings: Settings) -> Finding:
    try:
        with redis.Redis.from_url(
            settings.redis_url.get_secret_value(), socket_timeout=5, socket_connect_timeout=5
        ) as client:
            version = str(client.info("server")["redis_version"])
    except redis.RedisError as error:
        return Finding("redis", fault=f"cannot be reached: REDIS_URL ({type(error).__name__})")
    if tuple(int(part) for part in version.split(".")[:2]) < (6, 2):
        return Finding("redis", fault=f"is version {version}; 6.2 or later is needed")
    return Finding("redis", detail=f"version {version}")


def _check_broker(settings: Settings) -> Finding:
    """One attempt and no pool: what the publishers would retry must be told here."""
    probe = Celery("check", broker=settings.effective_broker_url, set_as_current=False)
    try:
        with probe.connection_for_write(connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            return Finding("broker", detail=connection.transport.driver_type)
    except (OperationalError, OSError):
        name = "BROKER_URL" if settings.broker_url else "REDIS_URL"
        return Finding("broker", fault=f"cannot be reached: {name}")


def _check_accounts(settings: Settings) -> Iterator[Finding]:
    """Settings were refused where an account's base URL is not an allowed origin."""
    for name, allowance in sorted(allowances(settings).items()):
        budget = f"{allowance.limit * allowance.share:g} of {allowance.limit:g} reads a second"
        base_url = settings.accounts[name].base_url
        yield Finding(f"account {name}", detail=f"{budget} at {base_url}, an allowed origin")


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


def _accounts_of_open_sessions(opened: Reports, settings: Settings) -> Iterator[Finding]:
    for row in opened.unknown_accounts(settings.accounts):
        yield Finding(
            f"account {row['account']}",
            fault=f"is not configured, and {row['sessions']} open sessions wait for it",
        )


def _progress(opened: Reports, late: timedelta) -> Iterator[Finding]:
    seconds = f"{late.total_seconds():g} s"
    overdue = opened.late(late)
    accounts = {row["account"]: row for row in opened.accounts()}
    for row in overdue:
        waited = f"{row['oldest_seconds']:.0f} s"
        account = accounts.get(row["account"], {"stretch": 1, "budget_share": 1})
        governed = account["stretch"] > 1 or account["budget_share"] < 1
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
            fault="is refused by Klarna (401 or 403): check its credentials",
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
        elif row["stretch"] > 1 or row["budget_share"] < 1:
            share = f"{row['budget_share']:.0%} of its budget"
            detail = f"has {share}, and every interval is {row['stretch']:g} times as long"
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


def _print(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "ok": not _code(findings),
                "findings": [
                    {"subject": f.subject, "ok": f.fault is None, "text": f.fault or f.detail}
                    for f in findings
                ],
            }
        )
        return
    for finding in findings:
        mark = Text("ok   ", "green") if finding.fault is None else Text("fault", "red")
        said = printable(f"{finding.subject}: {finding.fault or finding.detail or 'right'}")
        console.print(mark, Text(said))


def _code(findings: list[Finding]) -> int:
    return FAILED if any(finding.fault for finding in findings) else 0
