"""Runs the claim statement: leases due sessions, and returns them as poll tasks."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.services.sessions import ClaimLimits, PollTask


async def claim(
    connection: AsyncConnection,
    statement: TextClause,
    account: str,
    *,
    tasks: int,
    limits: ClaimLimits,
    **others: Any,  # noqa: ANN401 - parameters of the statement
) -> list[PollTask]:
    """Lease sessions by one of the statements of `claim_sql`, to at most `tasks` tasks."""
    values = {
        "account": account,
        "tasks": tasks,
        "tasks_in_flight": limits.tasks_in_flight,
        "sessions_in_flight": limits.sessions_in_flight,
        "sessions_per_task": limits.sessions_per_task,
        "lease": limits.lease,
        "lease_ids": [uuid4() for _ in range(tasks)],
    }
    by_lease: dict[UUID, list[Any]] = defaultdict(list)
    for row in await connection.execute(statement, values | others):
        by_lease[row.lease_id].append(row)
    return [
        PollTask(
            account=account,
            lease_id=lease_id,
            session_ids=tuple(row.session_id for row in rows),
            lateness_ratio=min(row.lateness_ratio for row in rows),
        )
        for lease_id, rows in by_lease.items()
    ]
