"""The backlog for metrics: the same questions that health and the console ask."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import structlog
from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.adapters.celery_publisher import QUEUE_LABELS
from worker.adapters.postgres.engine import one_statement, transaction
from worker.adapters.postgres.reports import health, questions
from worker.services.errors import UnavailableError
from worker.services.meter import (
    Backlog,
    DeploymentFigures,
    ProcessFigures,
    RefusedFigures,
    SinkFigures,
    Waiting,
)

log = structlog.get_logger(__name__)


class PostgresBacklog:
    """Implements the port `BacklogRead`; `accounts` are the configured ones.

    Accounts with open sessions that are missing in the settings are included.
    """

    def __init__(self, engine: AsyncEngine, *, accounts: Collection[str]) -> None:
        self._engine = engine
        self._accounts = list(accounts)

    async def read(self) -> Backlog:
        """Return the figures, read in one transaction but for those of refused messages."""
        async with transaction(self._engine) as connection:
            due = await _rows(connection, questions.DUE_BY_ACCOUNT)
            sinks = await _rows(connection, questions.SINKS)
            awaited = await _rows(connection, questions.AWAITED_BY_MINUTES_LEFT)
            (lapsed,) = await _rows(connection, questions.LAPSED)
            (undelivered,) = await _rows(connection, questions.UNDELIVERED_PAYMENTS_COUNT)
        refused = await self._refused()
        deployment = await self._deployment()
        return Backlog(
            due={name: Waiting() for name in self._accounts}
            | {row["account"]: _due(row) for row in due},
            sinks={row["sink"]: _sink(row) for row in sinks},
            unconfirmed={str(minutes): 0 for minutes in questions.MINUTES_LEFT}
            | {str(row["minutes_left"]): row["sessions"] for row in awaited},
            lapsed=lapsed["sessions"],
            undelivered=undelivered["payments"],
            refused=refused,
            deployment=deployment,
        )

    async def _deployment(self) -> DeploymentFigures | None:
        """Read apart, as the refused messages are."""
        try:
            async with one_statement(self._engine) as connection:
                roles = await _rows(connection, health.PROCESSES_BY_ROLE)
            async with one_statement(self._engine) as connection:
                queues = await _rows(connection, health.QUEUES)
        except UnavailableError as error:
            log.warning("backlog_read_failed", error=str(error))
            return None
        return DeploymentFigures(
            processes={row["role"]: _processes(row) for row in roles},
            # Queues that a later release adds are none of this one's labels.
            unchanged_seconds=dict.fromkeys(QUEUE_LABELS.values(), 0.0)
            | {
                QUEUE_LABELS[row["queue"]]: row["unchanged_seconds"]
                for row in queues
                if row["queue"] in QUEUE_LABELS
            },
        )

    async def _refused(self) -> RefusedFigures | None:
        """Read apart: without the table, or the right to it, the other figures are still known."""
        try:
            async with one_statement(self._engine) as connection:
                rows = await _rows(connection, questions.REFUSED_MESSAGES)
        except UnavailableError as error:
            log.warning("backlog_read_failed", error=str(error))
            return None
        return RefusedFigures(
            waiting=sum(row["waiting"] for row in rows),
            retried_in_vain=sum(row["retried_in_vain"] for row in rows),
        )


async def _rows(connection: AsyncConnection, statement: TextClause) -> list[dict[str, Any]]:
    return [dict(row) for row in (await connection.execute(statement)).mappings()]


def _due(row: dict[str, Any]) -> Waiting:
    return Waiting(
        count=row["due"],
        oldest_seconds=row["oldest_seconds"] or 0.0,
        under_way=row["in_flight"],
    )


def _processes(row: dict[str, Any]) -> ProcessFigures:
    if row["seen_seconds"] is None:
        return ProcessFigures()
    return ProcessFigures(running=row["running"], seen_seconds=row["seen_seconds"])


def _sink(row: dict[str, Any]) -> SinkFigures:
    return SinkFigures(
        waiting=Waiting(count=row["waiting"], oldest_seconds=row["oldest_seconds"] or 0.0),
        dead_lettered=row["dead_lettered"],
        disabled=row["disabled_at"] is not None,
    )
