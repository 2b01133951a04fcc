"""What the database holds for somebody to do, as figures: each by an index, none unbounded."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.adapters.postgres.engine import transaction
from worker.adapters.postgres.reports.confirmations import LAPSED_TODAY
from worker.adapters.postgres.reports.events import DISCARDED, SINKS
from worker.services.meter import Backlog, SinkFigures, Waiting

# Counting further would tell nobody more, and takes a while.
_COUNTED = 100_000
# A paused account's sessions are not late: they wait for its end.
# Of accounts that the settings lost, too: a step in an index for each that has open sessions.
_DUE = text(f"""
    WITH RECURSIVE open_accounts AS (
        (SELECT account FROM payment_sessions WHERE outcome IS NULL ORDER BY 1 LIMIT 1)
        UNION ALL
        SELECT (
            SELECT s.account FROM payment_sessions AS s
            WHERE s.outcome IS NULL AND s.account > before.account ORDER BY 1 LIMIT 1
        )
        FROM open_accounts AS before WHERE before.account IS NOT NULL
    )
    SELECT wanted.account, count(due.next_poll_at) AS due,
        EXTRACT(epoch FROM statement_timestamp()
            - min(GREATEST(due.next_poll_at, a.paused_until)))::float AS oldest_seconds,
        count(*) FILTER (WHERE due.lease_expires_at > statement_timestamp()) AS in_flight
    FROM (
        SELECT unnest(CAST(:accounts AS text[])) AS account
        UNION SELECT account FROM open_accounts WHERE account IS NOT NULL
    ) AS wanted
    LEFT JOIN accounts AS a USING (account)
    LEFT JOIN LATERAL (
        SELECT next_poll_at, lease_expires_at
        FROM payment_sessions
        WHERE account = wanted.account AND outcome IS NULL
            AND next_poll_at <= statement_timestamp()
            AND COALESCE(a.paused_until, '-infinity') <= statement_timestamp()
        ORDER BY next_poll_at
        LIMIT {_COUNTED}
    ) AS due ON true
    GROUP BY 1
""")  # noqa: S608 - a constant
_UNCONFIRMED = text("""
    SELECT minutes_left, count(time_left) AS sessions
    FROM (VALUES (0, 5), (5, 10), (10, 20), (20, 60)) AS left_of(over, minutes_left)
    LEFT JOIN (
        SELECT authorization_expires_at - statement_timestamp() AS time_left
        FROM payment_sessions
        WHERE next_warning_at IS NOT NULL
    ) AS awaited
        ON (time_left > over * interval '1 minute' OR over = 0)
            AND (time_left <= minutes_left * interval '1 minute' OR minutes_left = 60)
    GROUP BY 1
""")
# Told late or never, the shop cannot place the order: whether or not it confirms orders.
_UNTOLD = text("""
    SELECT count(DISTINCT session_id)
    FROM (
        SELECT event_id FROM outbox_deliveries WHERE delivered_at IS NULL AND dead_at IS NULL
        UNION ALL
        SELECT event_id FROM outbox_deliveries
        WHERE dead_at > statement_timestamp() - interval '1 day'
            AND last_error IS DISTINCT FROM :discarded
    ) AS late
    JOIN outbox_messages AS m USING (event_id)
    JOIN payment_sessions AS s USING (session_id)
    WHERE m.event_type IN ('payment_session.authorized', 'payment_session.order_placed')
        AND m.created_at < statement_timestamp() - interval '10 seconds'
        AND s.confirmed_at IS NULL
""")


class PostgresBacklog:
    """Implements the port `BacklogRead`; `accounts` are the configured ones."""

    def __init__(self, engine: AsyncEngine, *, accounts: Collection[str]) -> None:
        self._engine = engine
        self._accounts = list(accounts)

    async def read(self) -> Backlog:
        """Return what there is now, in one transaction."""
        async with transaction(self._engine) as connection:
            due = await _rows(connection, _DUE, accounts=self._accounts)
            sinks = await _rows(connection, SINKS, discarded=DISCARDED)
            unconfirmed = await _rows(connection, _UNCONFIRMED)
            (lapsed,) = await _rows(connection, LAPSED_TODAY)
            untold = (await connection.execute(_UNTOLD, {"discarded": DISCARDED})).scalar_one()
        return Backlog(
            due={row["account"]: _due(row) for row in due},
            sinks={row["sink"]: _sink(row) for row in sinks},
            unconfirmed={str(row["minutes_left"]): row["sessions"] for row in unconfirmed},
            lapsed=lapsed["sessions"],
            untold=untold,
        )


async def _rows(
    connection: AsyncConnection, statement: TextClause, **values: object
) -> list[dict[str, Any]]:
    return [dict(row) for row in (await connection.execute(statement, values)).mappings()]


def _due(row: dict[str, Any]) -> Waiting:
    return Waiting(
        count=row["due"],
        oldest_seconds=row["oldest_seconds"] or 0.0 if row["due"] else 0.0,
        under_way=row["in_flight"],
    )


def _sink(row: dict[str, Any]) -> SinkFigures:
    return SinkFigures(
        waiting=Waiting(count=row["waiting"], oldest_seconds=row["oldest_seconds"] or 0.0),
        died=row["died"],
        disabled=row["disabled_at"] is not None,
    )
