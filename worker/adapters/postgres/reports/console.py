"""What only the console asks: the overview's lists, pages of sessions and deliveries, a search.

Read-only. Every statement is bounded: by an index, or by one pass over the sessions.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import text

from worker.adapters.postgres.literals import interval
from worker.adapters.postgres.reports import questions
from worker.adapters.postgres.reports.health import ProcessReports
from worker.adapters.postgres.reports.questions import OPEN_ACCOUNTS
from worker.adapters.postgres.reports.sessions import Row

_LISTED = """session_id, account, kind, reference, status, outcome, order_id, poll_count,
        tracked_at, status_updated_at, next_poll_at, finished_at, last_polled_at, last_error,
        clock_timestamp() AS asked_at"""
POLLED_LATELY = timedelta(minutes=5)
POLL_RATE_OVER = timedelta(minutes=1)
_LATELY, _RATE_WINDOW = interval(POLLED_LATELY), interval(POLL_RATE_OVER)
# One pass over the table returns both the counts and how recently the sessions were read.
_STATES = text(f"""
    SELECT account, COALESCE(outcome, 'open') AS state, status, count(*) AS sessions,
        count(*) FILTER (WHERE last_polled_at > statement_timestamp() - {_LATELY})
            AS polled_lately,
        sum(CASE WHEN last_polled_at > statement_timestamp() - {_RATE_WINDOW} THEN (
            SELECT count(*) FROM unnest(polled_seconds) AS polled(after)
            WHERE tracked_at + GREATEST(after, ~after) * interval '1 second'
                > statement_timestamp() - {_RATE_WINDOW}
        ) ELSE 0 END)::float / {POLL_RATE_OVER.total_seconds()} AS polls_per_second,
        EXTRACT(epoch FROM statement_timestamp() - max(last_polled_at))::float AS idle_seconds
    FROM payment_sessions
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
""")  # noqa: S608 - constants of this module
# First the authorizations that can still place an order, then those that lapsed in the last day:
# for these, ask the shop.
_WITHOUT_ORDER = text(f"""
    SELECT session_id, reference, account, authorization_expires_at, authorization_lapsed_at,
        EXTRACT(epoch FROM authorization_expires_at - statement_timestamp())::float AS seconds_left
    FROM payment_sessions
    WHERE ({questions.LAPSED_LATELY}) OR ({questions.EXPIRING})
    ORDER BY authorization_lapsed_at DESC NULLS FIRST, authorization_expires_at
    LIMIT :limit
""")  # noqa: S608 - constants of another module
_NOW = text("SELECT statement_timestamp() AS asked_at")
# Keyset pages: the next page begins after the last row shown, however long the list.
# Account by account, from the index of due sessions: it reads no more rows than a page of each.
_OPEN = text(f"""
    WITH RECURSIVE {OPEN_ACCOUNTS}
    SELECT page.*
    FROM open_accounts AS o
    CROSS JOIN LATERAL (
        SELECT {_LISTED}, next_poll_at AS position
        FROM payment_sessions AS s
        WHERE s.outcome IS NULL AND s.account = o.account
            AND (CAST(:account AS text) IS NULL OR s.account = :account)
            AND (CAST(:after AS timestamptz) IS NULL
                OR (s.next_poll_at, s.session_id) > (CAST(:after AS timestamptz), :after_id))
        ORDER BY s.next_poll_at, s.session_id
        LIMIT :limit
    ) AS page
    ORDER BY position, session_id
    LIMIT :limit
""")  # noqa: S608 - constants of this module
_FINISHED = text(f"""
    SELECT {_LISTED}, finished_at AS position
    FROM payment_sessions
    WHERE finished_at IS NOT NULL
        AND (CAST(:outcome AS text) IS NULL OR outcome = :outcome)
        AND (CAST(:account AS text) IS NULL OR account = :account)
        AND (CAST(:after AS timestamptz) IS NULL
            OR (finished_at, session_id) < (CAST(:after AS timestamptz), :after_id))
    ORDER BY finished_at DESC, session_id DESC
    LIMIT :limit
""")  # noqa: S608 - constants of this module
# Four index look-ups instead of one scan with OR.
_FOUND = text(f"""
    SELECT {_LISTED}, tracked_at AS position
    FROM payment_sessions
    WHERE session_id IN (
        (SELECT session_id FROM payment_sessions WHERE session_id = :sought)
        UNION
        (SELECT session_id FROM payment_sessions WHERE reference = :sought LIMIT :limit)
        UNION
        (SELECT session_id FROM payment_sessions WHERE order_id = :sought LIMIT :limit)
        UNION
        (SELECT session_id FROM payment_sessions WHERE confirmed_order_id = :sought LIMIT :limit)
    )
    ORDER BY tracked_at DESC, session_id
    LIMIT :limit
""")  # noqa: S608 - constants of this module
_DEAD = text("""
    SELECT d.event_id, d.sink, d.session_id, d.sequence, d.attempts, d.dead_at, d.last_error,
        m.event_type, m.created_at, s.reference
    FROM outbox_deliveries AS d
    JOIN outbox_messages AS m USING (event_id)
    JOIN payment_sessions AS s ON s.session_id = d.session_id
    WHERE d.dead_at IS NOT NULL
        AND (CAST(:after AS timestamptz) IS NULL
            OR (d.dead_at, d.event_id::text) < (CAST(:after AS timestamptz), :after_id))
    ORDER BY d.dead_at DESC, d.event_id::text DESC
    LIMIT :limit
""")


class ConsoleReports(ProcessReports):
    """Reports for the console; a context manager."""

    # A page says within ten seconds that Postgres hangs.
    STATEMENT_SECONDS = 6.0

    def states(self) -> list[Row]:
        """Return by account, state and status how many sessions there are, and were read lately."""
        return self._rows(_STATES)

    def without_order(self, *, limit: int) -> list[Row]:
        """Return authorized payments without a confirmed order.

        First those that lapse within 20 minutes, then those that lapsed in the last day.
        """
        return self._rows(_WITHOUT_ORDER, limit=limit)

    def without_order_counts(self) -> Row:
        """Return how many lapsed in the last day, `lapsed_before`, are `awaited`, `expiring`."""
        awaited = self.awaited()
        return {
            "asked_at": self._rows(_NOW)[0]["asked_at"],
            "lapsed": self.lapsed()["sessions"],
            "lapsed_before": self.lapsed_before()["sessions"],
            "awaited": sum(row["sessions"] for row in awaited),
            "expiring": sum(
                row["sessions"]
                for row in awaited
                if row["minutes_left"] != questions.MINUTES_LEFT[-1]
            ),
        }

    def undelivered_payments(self, *, limit: int) -> list[Row]:
        """Return deliveries of payments that are 10 s late, or were given up in the last day."""
        return self._rows(questions.UNDELIVERED_PAYMENTS, limit=limit)

    def undelivered_payments_count(self) -> int:
        """Return how many payments such deliveries belong to."""
        return int(self._rows(questions.UNDELIVERED_PAYMENTS_COUNT)[0]["payments"])

    def undelivered_payments_before(self) -> int:
        """Return how many deliveries of payments were given up longer than a day ago."""
        return int(self._rows(questions.UNDELIVERED_PAYMENTS_BEFORE)[0]["deliveries"])

    def unavailable_sinks(self) -> dict[str, Row]:
        """Return sinks that nothing is sent to: `disabled_at` with a `reason`, or `held_until`."""
        return {row["sink"]: row for row in self._rows(questions.UNAVAILABLE_SINKS)}

    def lag_counts(self, edges: list[float]) -> dict[int, int]:
        """Return how many due sessions have waited how long, by bucket of `edges` in seconds."""
        rows = self._rows(questions.DUE_BY_LATENESS, edges=edges)
        return {row["bucket"]: row["sessions"] for row in rows}

    def open_page(self, *, account: str | None, after: Place | None, limit: int) -> list[Row]:
        """Return open sessions, the one to be read next first."""
        return self._rows(_OPEN, account=account, limit=limit, **_place(after))

    def finished_page(
        self, *, outcome: str | None, account: str | None, after: Place | None, limit: int
    ) -> list[Row]:
        """Return finished sessions, the latest first."""
        return self._rows(_FINISHED, outcome=outcome, account=account, limit=limit, **_place(after))

    def found(self, sought: str, *, limit: int) -> list[Row]:
        """Return sessions with exactly this id, reference, or order id of Klarna or the shop."""
        return self._rows(_FOUND, sought=sought, limit=limit)

    def dead_page(self, *, after: Place | None, limit: int) -> list[Row]:
        """Return dead deliveries, the latest first."""
        return self._rows(_DEAD, limit=limit, **_place(after))


Place = tuple[datetime, str]


def _place(after: Place | None) -> dict[str, object]:
    return {"after": after[0] if after else None, "after_id": after[1] if after else None}
