"""check's look at Postgres: reached, new enough, migrated, writable, and of the same time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy.exc

from config.settings import Settings
from worker.adapters import clock
from worker.adapters.postgres.error_messages import connection_fault
from worker.adapters.postgres.reports.deployment import DeploymentReports
from worker.commands.findings import Finding
from worker.commands.migrating import head_revision, knows
from worker.commands.unknown_accounts import accounts_of_open_sessions

OLDEST_VERSION = 14
INSUFFICIENT_PRIVILEGE = "42501"
# Leases go by the database's clock alone; signed webhooks, logs and Flower go by this machine's.
LARGEST_SKEW = timedelta(seconds=5)
_SHOWN_RIGHTS = 3


def check_postgres(settings: Settings) -> Iterator[Finding]:
    """One line, or one for each fault; nothing is written."""
    try:
        with DeploymentReports(settings.database_url.get_secret_value()) as opened:
            yield from _server(opened)
            yield from _migrations(opened)
            yield from _rights(opened)
            yield from accounts_of_open_sessions(opened, settings)
    except sqlalchemy.exc.ProgrammingError as error:
        if getattr(error.orig, "sqlstate", "") == INSUFFICIENT_PRIVILEGE:
            fault = "does not let DATABASE_URL's role read: run docs/roles.sql, and use its worker"
            yield Finding("postgres", fault)
        else:
            yield Finding("postgres", "is not migrated: run `alembic upgrade head`")
    except sqlalchemy.exc.DBAPIError as error:
        yield Finding("postgres", connection_fault(error))


def skew_fault(theirs: datetime, ours: datetime) -> str | None:
    """Return what is wrong where two clocks differ too much."""
    skew = ours - theirs
    if abs(skew) <= LARGEST_SKEW:
        return None
    way = "ahead of" if skew > timedelta(0) else "behind"
    seconds = f"{abs(skew).total_seconds():.0f} s"
    return f"this machine's clock is {seconds} {way} Postgres': set both by NTP"


def _server(opened: DeploymentReports) -> Iterator[Finding]:
    version, now = opened.server()
    if version < OLDEST_VERSION:
        yield Finding("postgres", f"is version {version}: {OLDEST_VERSION} or later is needed")
    yield Finding("clock", skew_fault(now, clock.now()), detail="the same as Postgres'")


def _migrations(opened: DeploymentReports) -> Iterator[Finding]:
    revision, head = opened.revision(), head_revision()
    fault = None
    if not knows(revision):
        fault = (
            f"is at migration {revision}, which a later release made: run that release, or go "
            f"back with its `alembic downgrade {head}`"
        )
    elif revision != head:
        fault = f"is at migration {revision}, not {head}: run `alembic upgrade head`"
    yield Finding("postgres", fault, detail=f"migrated to {revision}")


def _rights(opened: DeploymentReports) -> Iterator[Finding]:
    missing = opened.missing_rights()
    if missing:
        more = f" and {len(missing) - _SHOWN_RIGHTS} more" if len(missing) > _SHOWN_RIGHTS else ""
        lacking = ", ".join(missing[:_SHOWN_RIGHTS]) + more
        yield Finding(
            "postgres",
            f"does not let DATABASE_URL's role work ({lacking}): run docs/roles.sql, after each "
            "release with a migration, and use klarna_sessions_worker",
        )
