"""One session with its history, lists, counts, and what is late; for CLI, console and health.

Read-only, blocking, and never the authorization token.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Self

from sqlalchemy import Engine, create_engine, text

from worker.adapters.postgres.engine import CONNECT_TIMEOUT_SECONDS
from worker.adapters.postgres.pgbouncer import open_engine
from worker.adapters.postgres.reports import accounts as account_reports
from worker.adapters.postgres.reports import detection, questions
from worker.adapters.postgres.sessions.rows import with_polls
from worker.adapters.postgres.statement_deadline import end_hanging_statements
from worker.adapters.postgres.tables import payment_sessions

# By name, not by `*`: a role that may only read has no right to the token column.
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
        AND (NOT :only_unconfirmed OR {questions.UNCONFIRMED})
    ORDER BY tracked_at DESC
    LIMIT :limit
""")  # noqa: S608 - constants of this module
_COUNTS = text("""
    SELECT account, kind, COALESCE(outcome, 'open') AS state, status, count(*) AS sessions
    FROM payment_sessions
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4
""")
_NOTHING_WAITS = {
    "waiting": 0,
    "dead": 0,
    "oldest_seconds": None,
    "most_attempts": 0,
    "disabled_at": None,
}
_UNCONFIRMED_COLUMNS = ("time_left", "sessions", "first_expires_at")
_OUTBOX_COLUMNS = ("sink", "waiting", "dead", "delivered", "oldest_seconds", "disabled_at")
_REVISION = text("SELECT version_num FROM alembic_version")

Row = dict[str, Any]


class Reports:
    """A context manager; every method may raise sqlalchemy.exc.SQLAlchemyError."""

    STATEMENT_SECONDS = 10.0

    def __init__(self, database_url: str) -> None:
        self._engine: Engine = open_engine(
            create_engine,
            database_url,
            server_settings={
                "default_transaction_read_only": "on",
                "timezone": "UTC",
                "statement_timeout": f"{self.STATEMENT_SECONDS * 1000:.0f}",
            },
            connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS},
            pool_timeout=CONNECT_TIMEOUT_SECONDS,
        )
        end_hanging_statements(self._engine, seconds=self.STATEMENT_SECONDS + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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

    def sessions(  # a parameter for each filter of `session-worker list`
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
        """Return all counts and delays.

        `detection_delays` has percentiles by status; `detection_histogram` cumulative counts.
        """
        delays = self.detection()
        return {
            "sessions": self._rows(_COUNTS),
            "due": self.due(),
            "outbox": self._outbox(),
            "accounts": self.accounts(),
            "unconfirmed": self.unconfirmed(),
            "detection_delays": [detection.without_bounds(row) for row in delays],
            "detection_histogram": [detection.histogram(row) for row in delays],
        }

    def due(self) -> list[Row]:
        """Return for each account how many sessions are due, and for how long the oldest."""
        return [row for row in self._rows(questions.DUE_BY_ACCOUNT) if row["due"]]

    def sinks(self) -> list[Row]:
        """Return each sink that is disabled, or has pending or lately dead-lettered deliveries.

        `dead_lettered` counts those of the last day; `oldest_seconds` is for how long the oldest
        has been tried.
        """
        return self._rows(questions.SINKS)

    def undelivered(self) -> list[Row]:
        """Return each sink that is disabled, or has deliveries that wait or are dead."""
        sinks = {row["sink"]: row for row in self.sinks()}
        dead = {row["sink"]: row["dead"] for row in self._rows(questions.DEAD_BY_SINK)}
        return [
            _NOTHING_WAITS | sinks.get(sink, {}) | {"sink": sink, "dead": dead.get(sink, 0)}
            for sink in sorted(sinks | dead)
        ]

    def unconfirmed(self) -> list[Row]:
        """Return how many authorizations have no order, by the time they have left."""
        lapsed = [row for row in (self.lapsed(), self.lapsed_before()) if row["sessions"]]
        rows = [row | {"time_left": _time_left(row["minutes_left"])} for row in self.awaited()]
        if lapsed:
            first = min(row["first_expires_at"] for row in lapsed)
            sessions = sum(row["sessions"] for row in lapsed)
            rows.insert(0, {"time_left": "lapsed", "sessions": sessions, "first_expires_at": first})
        return [{name: row[name] for name in _UNCONFIRMED_COLUMNS} for row in rows]

    def awaited(self) -> list[Row]:
        """Return how many authorizations wait for an order, by `minutes_left`."""
        return self._rows(questions.AWAITED_BY_MINUTES_LEFT)

    def lapsed(self) -> Row:
        """Return how many `sessions` lapsed in the last day without an order, and one of them."""
        return self._rows(questions.LAPSED)[0]

    def lapsed_before(self) -> Row:
        """Return how many `sessions` lapsed longer ago without an order."""
        return self._rows(questions.LAPSED_BEFORE)[0]

    def overdue_warnings(self, bound: timedelta) -> list[Row]:
        """Return how many warnings were due longer than `bound` ago, if any."""
        limit = bound.total_seconds()
        rows = self._rows(questions.OVERDUE_WARNINGS)
        return [row for row in rows if (row["oldest_seconds"] or 0) > limit]

    def accounts(self) -> list[Row]:
        """Return each account's state, as of now."""
        return [account_reports.account(row) for row in self._rows(account_reports.ACCOUNTS)]

    def detection(self) -> list[Row]:
        """Return the last day's delays by status: percentiles, and `within_N_s` for BOUNDS."""
        return self._rows(detection.DELAYS)

    def revision(self) -> str:
        """Return the database's migration."""
        with self._engine.connect() as connection:
            return str(connection.execute(_REVISION).scalar_one())

    def unknown_accounts(self, configured: Collection[str]) -> list[Row]:
        """Return accounts of open sessions that are missing in the settings."""
        return [
            row
            for row in self._rows(questions.OPEN_SESSIONS_BY_ACCOUNT)
            if row["account"] not in configured
        ]

    def late(self, bound: timedelta) -> list[Row]:
        """Return the accounts whose oldest due session waits longer than `bound`."""
        limit = bound.total_seconds()
        return [row for row in self.due() if (row["oldest_seconds"] or 0) > limit]

    def _outbox(self) -> list[Row]:
        counted = {row["sink"]: row["delivered"] for row in self._rows(questions.DELIVERED_BY_SINK)}
        undelivered = {row["sink"]: row for row in self.undelivered()}
        rows = [
            _NOTHING_WAITS
            | undelivered.get(sink, {})
            | {"sink": sink, "delivered": counted.get(sink, 0)}
            for sink in sorted(undelivered | counted)
        ]
        return [{name: row[name] for name in _OUTBOX_COLUMNS} for row in rows]

    def _rows(self, statement: Any, **values: object) -> list[Row]:  # noqa: ANN401 - a clause
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(statement, values).mappings()]


def _time_left(minutes: int) -> str:
    return "more" if minutes == questions.MINUTES_LEFT[-1] else f"up to {minutes} min"
