"""What the console asks beyond Reports: the overview's figures, pages of lists, a search.

Read-only. Every statement is bounded: by an index, or by one pass over the open part of a table.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text

from worker.adapters.postgres.reports.events import DISCARDED
from worker.adapters.postgres.reports.sessions import Reports, Row

_LISTED = """session_id, account, kind, reference, status, outcome, order_id, poll_count,
        tracked_at, status_updated_at, next_poll_at, finished_at, last_polled_at, last_error,
        clock_timestamp() AS asked_at"""
# One pass over the table tells both what there is and whether it is being read.
_STATES = text("""
    SELECT account, COALESCE(outcome, 'open') AS state, status, count(*) AS sessions,
        count(*) FILTER (WHERE last_polled_at > statement_timestamp() - interval '5 minutes')
            AS polled_lately,
        sum(CASE WHEN last_polled_at > statement_timestamp() - interval '1 minute' THEN (
            SELECT count(*) FROM unnest(polled_seconds) AS polled(after)
            WHERE tracked_at + GREATEST(after, ~after) * interval '1 second'
                > statement_timestamp() - interval '1 minute'
        ) ELSE 0 END)::float / 60 AS polls_per_second,
        EXTRACT(epoch FROM statement_timestamp() - max(last_polled_at))::float AS idle_seconds
    FROM payment_sessions
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
""")
# Paid without an order, as far as anybody told us. Those come first whose token still places one:
# of the others, that ran out in the last day, the shop has to be asked.
_UNORDERED = text("""
    SELECT session_id, reference, account, authorization_expires_at, authorization_lapsed_at,
        EXTRACT(epoch FROM authorization_expires_at - statement_timestamp())::float AS seconds_left
    FROM payment_sessions
    WHERE (authorization_lapsed_at > statement_timestamp() - interval '1 day'
            AND confirmed_at IS NULL)
        OR (next_warning_at IS NOT NULL
            AND authorization_expires_at < statement_timestamp() + interval '20 minutes')
    ORDER BY authorization_lapsed_at DESC NULLS FIRST, authorization_expires_at
    LIMIT :limit
""")
_UNORDERED_COUNTS = text("""
    SELECT statement_timestamp() AS asked_at,
        count(*) FILTER (WHERE authorization_lapsed_at > statement_timestamp() - interval '1 day')
            AS lapsed,
        count(*) FILTER (WHERE authorization_lapsed_at <= statement_timestamp() - interval '1 day')
            AS lapsed_before,
        (SELECT count(*) FROM payment_sessions WHERE next_warning_at IS NOT NULL) AS awaited,
        (SELECT count(*) FROM payment_sessions WHERE next_warning_at IS NOT NULL
            AND authorization_expires_at < statement_timestamp() + interval '20 minutes')
            AS expiring
    FROM payment_sessions
    WHERE authorization_lapsed_at IS NOT NULL AND confirmed_at IS NULL
""")
# Told late or never, the shop cannot place the order: whether or not it confirms orders.
# What a person gave up is a decision, and nothing to look at.
_OF_PAYMENTS = """
    JOIN outbox_messages AS m USING (event_id)
    JOIN payment_sessions AS s ON s.session_id = d.session_id
    WHERE m.event_type IN ('payment_session.authorized', 'payment_session.order_placed')
        AND s.confirmed_at IS NULL AND d.last_error IS DISTINCT FROM :discarded
"""
_UNTOLD = text(f"""
    WITH late AS (
        SELECT * FROM outbox_deliveries WHERE delivered_at IS NULL AND dead_at IS NULL
        UNION ALL
        SELECT * FROM outbox_deliveries WHERE dead_at > statement_timestamp() - interval '1 day'
    )
    SELECT d.session_id, s.reference, s.account, d.event_id, d.sink, d.attempts, d.dead_at,
        d.last_error,
        EXTRACT(epoch FROM statement_timestamp() - m.created_at)::float AS seconds
    FROM late AS d {_OF_PAYMENTS}
        AND m.created_at < statement_timestamp() - interval '10 seconds'
    ORDER BY m.created_at DESC
    LIMIT :limit
""")  # noqa: S608 - constants of this module
_UNTOLD_BEFORE = text(f"""
    SELECT count(*) AS deliveries FROM outbox_deliveries AS d {_OF_PAYMENTS}
        AND d.dead_at <= statement_timestamp() - interval '1 day'
""")  # noqa: S608 - constants of this module
_SHUT = text("""
    SELECT sink, disabled_at, reason, held_until FROM webhook_endpoints
    WHERE disabled_at IS NOT NULL OR held_until > statement_timestamp()
    ORDER BY sink
""")
_OUTBOX = text("""
    SELECT d.sink, count(*) AS waiting, 0 AS dead, max(d.attempts) AS most_attempts,
        EXTRACT(epoch FROM statement_timestamp() - min(m.created_at))::float AS oldest_seconds
    FROM outbox_deliveries AS d
    JOIN outbox_messages AS m USING (event_id)
    WHERE d.delivered_at IS NULL AND d.dead_at IS NULL
    GROUP BY 1
    UNION ALL
    SELECT sink, 0, count(*), 0, NULL FROM outbox_deliveries
    WHERE dead_at IS NOT NULL
    GROUP BY 1
""")
_LAG_COUNTS = text("""
    SELECT width_bucket(
            EXTRACT(epoch FROM statement_timestamp() - GREATEST(s.next_poll_at, a.paused_until)
            )::float, CAST(:edges AS float[])) AS bucket, count(*) AS sessions
    FROM payment_sessions AS s
    LEFT JOIN accounts AS a USING (account)
    WHERE s.outcome IS NULL AND s.next_poll_at <= statement_timestamp()
        AND (a.paused_until IS NULL OR a.paused_until <= statement_timestamp())
    GROUP BY 1
""")
# Keyset pages: what was shown last is where the next page begins, however long the list.
# Account by account, from the index of what is due: of a million open sessions it reads a page's.
_OPEN = text(f"""
    WITH RECURSIVE followed AS (
        (SELECT account FROM payment_sessions WHERE outcome IS NULL ORDER BY account LIMIT 1)
        UNION ALL
        SELECT (
            SELECT account FROM payment_sessions
            WHERE outcome IS NULL AND account > followed.account ORDER BY account LIMIT 1
        )
        FROM followed WHERE followed.account IS NOT NULL
    )
    SELECT page.*
    FROM followed
    CROSS JOIN LATERAL (
        SELECT {_LISTED}, next_poll_at AS position
        FROM payment_sessions AS s
        WHERE s.outcome IS NULL AND s.account = followed.account
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
# Four index look-ups, not one scan with OR.
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


class ConsoleReports(Reports):
    """Reports, and what only the console asks; every method may raise SQLAlchemyError."""

    def states(self) -> list[Row]:
        """Return by account, state and status how many there are, and how many were read lately."""
        return self._rows(_STATES)

    def unordered(self, *, limit: int) -> list[Row]:
        """Return authorized payments that no order is confirmed for.

        First those that lapse within 20 minutes, then those that lapsed in the last day.
        """
        return self._rows(_UNORDERED, limit=limit)

    def unordered_counts(self) -> Row:
        """Return how many `lapsed` this day or `lapsed_before`, are `awaited`, are `expiring`."""
        return self._rows(_UNORDERED_COUNTS)[0]

    def untold(self, *, limit: int) -> list[Row]:
        """Return payments that some sink was not told of for ten seconds, or gave up this day."""
        return self._rows(_UNTOLD, limit=limit, discarded=DISCARDED)

    def untold_before(self) -> int:
        """Return how many deliveries of payments a sink gave up longer than a day ago."""
        return int(self._rows(_UNTOLD_BEFORE, discarded=DISCARDED)[0]["deliveries"])

    def shut(self) -> dict[str, Row]:
        """Return by sink what is not sent to: `disabled_at` for a `reason`, or `held_until`."""
        return {row["sink"]: row for row in self._rows(_SHUT)}

    def undelivered(self) -> list[Row]:
        """Return for each sink what waits, and what was given up: two rows where both are so."""
        return self._rows(_OUTBOX)

    def lag_counts(self, edges: list[float]) -> dict[int, int]:
        """Return how many due sessions have waited how long, by bucket of `edges` in seconds."""
        rows = self._rows(_LAG_COUNTS, edges=edges)
        return {row["bucket"]: row["sessions"] for row in rows}

    def open_page(self, *, account: str | None, after: Place | None, limit: int) -> list[Row]:
        """Return open sessions, the next to be read first."""
        return self._rows(_OPEN, account=account, limit=limit, **_place(after))

    def finished_page(
        self, *, outcome: str | None, account: str | None, after: Place | None, limit: int
    ) -> list[Row]:
        """Return finished sessions, the latest first."""
        return self._rows(_FINISHED, outcome=outcome, account=account, limit=limit, **_place(after))

    def found(self, sought: str, *, limit: int) -> list[Row]:
        """Return sessions with exactly this id, reference or order id, Klarna's or the shop's."""
        return self._rows(_FOUND, sought=sought, limit=limit)

    def dead_page(self, *, after: Place | None, limit: int) -> list[Row]:
        """Return deliveries that were given up, the latest first."""
        return self._rows(_DEAD, limit=limit, **_place(after))


Place = tuple[datetime, str]


def _place(after: Place | None) -> dict[str, object]:
    return {"after": after[0] if after else None, "after_id": after[1] if after else None}
