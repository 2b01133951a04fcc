"""check's findings about Postgres: connection, version, migrations, rights, clock, contents."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import anyio
import sqlalchemy.exc

from config.settings import Settings, account_variables
from worker.adapters import clock
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.error_messages import connection_fault
from worker.adapters.postgres.rehearsal import RehearsalError, rehearse
from worker.adapters.postgres.reports.deployment import DeploymentReports
from worker.adapters.postgres.reports.sessions import Reports
from worker.bootstrap.shared import claim_limits, poll_policy, routes
from worker.commands.checked_processes import processes, queues, refused_messages
from worker.commands.findings import Finding, exit_code
from worker.commands.migrating import head_revision, knows
from worker.domain.schedule import PollLimits

OLDEST_VERSION = 14
INSUFFICIENT_PRIVILEGE = "42501"
# Leases go by the database's clock alone; signed webhooks, logs and Flower go by this machine's.
LARGEST_SKEW = timedelta(seconds=5)
_SHOWN_RIGHTS = 3


def check_postgres(settings: Settings) -> Iterator[Finding]:
    """Return a finding for each thing that is there, or its fault; keeps nothing that it writes."""
    try:
        with DeploymentReports(settings.database_url.get_secret_value()) as opened:
            yield from _server(opened)
            schema = [*_migrations(opened), *_rights(opened)]
            yield from schema
            if exit_code(schema):
                # What follows needs the tables and rights of this release.
                return
            yield from unconfigured_accounts(opened, settings)
            yield from processes(opened, may_be_new=True)
            yield from queues(opened)
            yield from refused_messages(opened)
            yield _rehearsal(settings)
    except sqlalchemy.exc.ProgrammingError as error:
        if getattr(error.orig, "sqlstate", "") == INSUFFICIENT_PRIVILEGE:
            fault = (
                "does not let DATABASE_URL's role read: run docs/roles.sql, and use "
                "klarna_sessions_worker"
            )
            yield Finding("postgres", fault)
        else:
            yield Finding("postgres", "is not migrated: run `alembic upgrade head`")
    except sqlalchemy.exc.DBAPIError as error:
        yield Finding("postgres", connection_fault(error))


def skew_fault(theirs: datetime, ours: datetime) -> str | None:
    """Return a fault where two clocks differ too much, else None."""
    skew = ours - theirs
    if abs(skew) <= LARGEST_SKEW:
        return None
    direction = "ahead of" if skew > timedelta(0) else "behind"
    seconds = f"{abs(skew).total_seconds():.0f} s"
    return f"this machine's clock is {seconds} {direction} Postgres': set both by NTP"


def clock_finding(theirs: datetime) -> Finding:
    """Return whether this machine's clock agrees with Postgres', which said `theirs` just now."""
    return Finding("clock", skew_fault(theirs, clock.now()), detail="agrees with Postgres'")


def unconfigured_accounts(opened: Reports, settings: Settings) -> Iterator[Finding]:
    """Return a fault for each account that open sessions name and the settings do not."""
    for row in opened.unknown_accounts(settings.accounts):
        account, variables = row["account"], account_variables(row["account"])
        wait = "session needs" if row["sessions"] == 1 else "sessions need"
        yield Finding(
            f"account {account}",
            f"is not configured, and {row['sessions']} open {wait} it: set {variables}USERNAME "
            f"and {variables}PASSWORD",
        )


def _server(opened: DeploymentReports) -> Iterator[Finding]:
    version, now = opened.server()
    if version < OLDEST_VERSION:
        yield Finding("postgres", f"is version {version}: {OLDEST_VERSION} or later is needed")
    yield clock_finding(now)


def _migrations(opened: DeploymentReports) -> Iterator[Finding]:
    revision, head = opened.revision(), head_revision()
    fault = None
    if not knows(revision):
        fault = (
            f"is at migration {revision}, which belongs to a later release: run that release, or "
            f"go back with its `alembic downgrade {head}`"
        )
    elif revision != head:
        fault = f"is at migration {revision}, not {head}: run `alembic upgrade head`"
    yield Finding("postgres", fault, detail=f"migrated to {revision}")


def _rehearsal(settings: Settings) -> Finding:
    try:
        deliveries = anyio.run(_rehearse, settings)
    except RehearsalError as error:
        fault = f"a made-up session could not be claimed and recorded ({error}): see Postgres' log"
        return Finding("rehearsal", fault)
    return Finding(
        "rehearsal",
        detail=f"a made-up session was claimed and recorded with {deliveries} of its events' "
        "deliveries, and rolled back",
    )


async def _rehearse(settings: Settings) -> int:
    keys = [key.get_secret_value() for key in settings.token_encryption_keys]
    return await rehearse(
        settings.database_url.get_secret_value(),
        cipher=FernetTokenCipher(keys),
        routes=routes(settings),
        claims=claim_limits(settings),
        polls=PollLimits(policy=poll_policy(settings)),
    )


def _rights(opened: DeploymentReports) -> Iterator[Finding]:
    missing = opened.missing_rights()
    if missing:
        more = f" and {len(missing) - _SHOWN_RIGHTS} more" if len(missing) > _SHOWN_RIGHTS else ""
        lacking = ", ".join(missing[:_SHOWN_RIGHTS]) + more
        yield Finding(
            "postgres",
            f"DATABASE_URL's role lacks rights ({lacking}): run docs/roles.sql after each release "
            "with a migration, and use klarna_sessions_worker",
        )
