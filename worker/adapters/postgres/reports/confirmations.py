"""What is asked of authorizations without an order; each question is met by an index."""

from __future__ import annotations

from sqlalchemy import text

# Either half has an index of its own.
UNCONFIRMED = """(next_warning_at IS NOT NULL
            OR (authorization_lapsed_at IS NOT NULL AND confirmed_at IS NULL))"""

BY_TIME_LEFT = text(f"""
    SELECT CASE
            WHEN authorization_lapsed_at IS NOT NULL THEN 'lapsed'
            WHEN time_left <= interval '5 minutes' THEN 'up to 5 min'
            WHEN time_left <= interval '10 minutes' THEN 'up to 10 min'
            WHEN time_left <= interval '20 minutes' THEN 'up to 20 min'
            ELSE 'more'
        END AS time_left,
        count(*) AS sessions,
        min(authorization_expires_at) AS first_expires_at
    FROM (
        SELECT authorization_lapsed_at, authorization_expires_at,
            authorization_expires_at - statement_timestamp() AS time_left
        FROM payment_sessions
        WHERE {UNCONFIRMED}
    ) AS unconfirmed
    GROUP BY 1
    ORDER BY min(authorization_expires_at)
""")  # noqa: S608 - constants of this module
# What lapsed longer ago is nobody's to save any more; `list --unconfirmed` has it.
LAPSED_TODAY = text("""
    SELECT count(*) AS sessions, min(session_id) AS session_id FROM payment_sessions
    WHERE authorization_lapsed_at > statement_timestamp() - interval '1 day'
        AND confirmed_at IS NULL
""")
OVERDUE_WARNINGS = text("""
    SELECT count(*) AS sessions,
        EXTRACT(epoch FROM statement_timestamp() - min(next_warning_at))::float AS oldest_seconds
    FROM payment_sessions
    WHERE next_warning_at < statement_timestamp()
""")
