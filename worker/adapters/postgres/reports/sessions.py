"""What people ask of the stored state: one session's story, lists, counts, what is stuck.

Read-only, blocking, and never the authorization token.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine, create_engine, text

from worker.adapters.postgres.engine import CONNECT_TIMEOUT_SECONDS
from worker.adapters.postgres.pgbouncer import open_engine
from worker.adapters.postgres.reports import accounts as account_reports
from worker.adapters.postgres.reports import confirmations as confirmation_reports
from worker.adapters.postgres.sessions.rows import with_polls
from worker.adapters.postgres.tables import payment_sessions

# By name, not by `*`: who may only read is not let at the token, not even at whether there is one.
_SHOWN = ", ".join(
    column.name for column in payment_sessions.columns if column.name != "authorization_token"
)
_SESSION = text(f"""
    SELECT {_SHOWN}, clock_timestamp() AS asked_at
    FROM payment_sessions
    WHERE session_id = :session_id
""")  # noqa: S608 - constants of this module
_TRANSITIONS = text("""
    SELECT sequence, from_status, to_status, occurred_at, observed_at, previous_read_at,
        EXTRACT(epoch FROM observed_at - occurred_at)::float AS detection_delay_seconds
    FROM status_transitions
    WHERE session_id = :session_id
    ORDER BY sequence
""")
_EVENTS = text("""
    SELECT m.event_id, m.sequence, m.event_type, m.created_at,
        d.sink, d.attempts, d.next_attempt_at, d.delivered_at, d.dead_at, d.last_error
    FROM outbox_messages AS m
    JOIN outbox_deliveries AS d USING (event_id)
    WHERE m.session_id = :session_id
    ORDER BY m.sequence, d.sink
""")
_LIST = text(f"""
    SELECT session_id, account, kind, reference, status, outcome, poll_count, tracked_at,
        status_updated_at, next_poll_at, finished_at, last_error, authorization_expires_at,
        authorization_lapsed_at, confirmed_order_id
    FROM payment_sessions
    WHERE (CAST(:account AS text) IS NULL OR account = :account)
        AND (CAST(:status AS text) IS NULL OR status = :status)
        AND (CAST(:outcome AS text) IS NULL OR outcome = :outcome)
        AND (CAST(:reference AS text) IS NULL OR reference = :reference)
        AND (NOT :only_open OR outcome IS NULL)
        AND (NOT :only_unconfirmed OR {confirmation_reports.UNCONFIRMED})
    ORDER BY tracked_at DESC
    LIMIT :limit
""")  # noqa: S608 - constants of this module
_COUNTS = text("""
    SELECT account, kind, COALESCE(outcome, 'open') AS state, status, count(*) AS sessions
    FROM payment_sessions
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4
""")
# A paused account's sessions are not late: they wait for its end.
_DUE = text("""
    SELECT s.account, count(*) AS due,
        EXTRACT(epoch FROM statement_timestamp() - min(GREATEST(s.next_poll_at, a.paused_until))
        )::float AS oldest_seconds,
        count(*) FILTER (WHERE s.lease_expires_at > statement_timestamp()) AS in_flight
    FROM payment_sessions AS s
    LEFT JOIN accounts AS a USING (account)
    WHERE s.outcome IS NULL AND s.next_poll_at <= statement_timestamp()
        AND (a.paused_until IS NULL OR a.paused_until <= statement_timestamp())
    GROUP BY 1
    ORDER BY 1
""")
_OUTBOX = text("""
    SELECT sink,
        count(*) FILTER (WHERE delivered_at IS NULL AND dead_at IS NULL) AS waiting,
        count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
        count(*) FILTER (WHERE delivered_at IS NOT NULL) AS delivered,
        EXTRACT(epoch FROM statement_timestamp() - min(m.created_at)
            FILTER (WHERE delivered_at IS NULL AND dead_at IS NULL))::float AS oldest_seconds,
        (SELECT e.disabled_at FROM webhook_endpoints AS e WHERE e.sink = d.sink) AS disabled_at
    FROM outbox_deliveries AS d
    JOIN outbox_messages AS m USING (event_id)
    GROUP BY 1
    ORDER BY 1
""")
_OPEN_ACCOUNTS = text("""
    SELECT account, count(*) AS sessions FROM payment_sessions
    WHERE outcome IS NULL GROUP BY 1 ORDER BY 1
""")
# The bounds of the histogram, in seconds.
BOUNDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 2400)
_HISTOGRAM = {f"within_{bound}_s": bound for bound in BOUNDS}
_WITHIN = ", ".join(
    f"count(*) FILTER (WHERE delay <= {bound}) AS {name}" for name, bound in _HISTOGRAM.items()
)
# A first transition is no delay of ours: a session may be tracked long after it was made. One that
# Klarna gave no time for occurred, as far as we know, when it was observed: counted, not timed.
_DELAYS = text(f"""
    SELECT to_status AS status, count(*) AS transitions, count(delay) AS timed,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY delay) AS p50_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY delay) AS p95_seconds,
        percentile_cont(0.99) WITHIN GROUP (ORDER BY delay) AS p99_seconds,
        {_WITHIN}
    FROM (
        SELECT to_status, EXTRACT(epoch FROM observed_at - NULLIF(occurred_at, observed_at))::float
            AS delay
        FROM status_transitions
        WHERE observed_at > statement_timestamp() - interval '1 day' AND from_status IS NOT NULL
    ) AS last_day
    GROUP BY 1
    ORDER BY 1
""")  # noqa: S608 - constants of this module
_REVISION = text("SELECT version_num FROM alembic_version")

Row = dict[str, Any]


class Reports:
    """A context manager; every method raises sqlalchemy.exc.SQLAlchemyError where it fails."""

    def __init__(self, database_url: str) -> None:
        self._engine: Engine = open_engine(
            create_engine,
            database_url,
            told={
                "default_transaction_read_only": "on",
                "timezone": "UTC",
                "statement_timeout": "10000",
            },
            connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.dispose()

    def session(self, session_id: str) -> Row | None:
        """Return one session with its latest `polls`, `transitions` and `deliveries`, or None."""
        found = self._rows(_SESSION, session_id=session_id)
        if not found:
            return None
        return with_polls(found[0]) | {
            "transitions": self._rows(_TRANSITIONS, session_id=session_id),
            "deliveries": self._rows(_EVENTS, session_id=session_id),
        }

    def sessions(
        self,
        *,
        account: str | None = None,
        status: str | None = None,
        outcome: str | None = None,
        reference: str | None = None,
        only_open: bool = False,
        only_unconfirmed: bool = False,
        limit: int = 50,
    ) -> list[Row]:
        """Return the newest sessions that match."""
        return self._rows(
            _LIST,
            account=account,
            status=status,
            outcome=outcome,
            reference=reference,
            only_open=only_open,
            only_unconfirmed=only_unconfirmed,
            limit=limit,
        )

    def stats(self) -> dict[str, list[Row]]:
        """Return counts: `sessions`, `due`, `outbox`, `accounts`, `unconfirmed`; and delays.

        `detection_delays` has percentiles by status; `detection_histogram` says how many were seen
        within so many seconds.
        """
        delays = self.detection()
        return {
            "sessions": self._rows(_COUNTS),
            "due": self.due(),
            "outbox": self._rows(_OUTBOX),
            "accounts": self.accounts(),
            "unconfirmed": self.unconfirmed(),
            "detection_delays": [_without_bounds(row) for row in delays],
            "detection_histogram": [
                {"status": row["status"]} | {name: row[name] for name in _HISTOGRAM}
                for row in delays
            ],
        }

    def due(self) -> list[Row]:
        """Return for each account how many sessions are due, and since when the oldest is."""
        return self._rows(_DUE)

    def unconfirmed(self) -> list[Row]:
        """Return how many authorizations have no order, by the time they have left."""
        return self._rows(confirmation_reports.BY_TIME_LEFT)

    def lapsed(self) -> Row:
        """Return how many `sessions` lapsed in the last day without an order, and one of them."""
        return self._rows(confirmation_reports.LAPSED_TODAY)[0]

    def overdue_warnings(self, bound: timedelta) -> list[Row]:
        """Return how many warnings should have been told before `bound`, if any."""
        limit = bound.total_seconds()
        rows = self._rows(confirmation_reports.OVERDUE_WARNINGS)
        return [row for row in rows if (row["oldest_seconds"] or 0) > limit]

    def accounts(self) -> list[Row]:
        """Return each account's state, as of now."""
        return [account_reports.account(row) for row in self._rows(account_reports.ACCOUNTS)]

    def detection(self) -> list[Row]:
        """Return the last day's delays by status: percentiles, and `within_N_s` for BOUNDS."""
        return self._rows(_DELAYS)

    def revision(self) -> str:
        """Return the migration the database stands at."""
        with self._engine.connect() as connection:
            return str(connection.execute(_REVISION).scalar_one())

    def unknown_accounts(self, configured: Collection[str]) -> list[Row]:
        """Return accounts that open sessions name and the settings do not."""
        return [row for row in self._rows(_OPEN_ACCOUNTS) if row["account"] not in configured]

    def late(self, bound: timedelta) -> list[Row]:
        """Return the accounts whose oldest due session waits longer than `bound`."""
        limit = bound.total_seconds()
        return [row for row in self.due() if (row["oldest_seconds"] or 0) > limit]

    def paused(self) -> list[Row]:
        """Return the accounts that Klarna refuses just now."""
        return [row for row in self.accounts() if row["refusals"]]

    def _rows(self, statement: Any, **values: object) -> list[Row]:  # noqa: ANN401 - a clause
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(statement, values).mappings()]


def _without_bounds(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in _HISTOGRAM}
