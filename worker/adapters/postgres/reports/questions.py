"""What health, stats, console and metrics ask of the stored state: one query for each question.

All but DELIVERED_BY_SINK are bounded by an index, however many sessions are finished.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from worker.adapters.postgres.conditions import SINK_UNAVAILABLE, pending
from worker.adapters.postgres.literals import interval, literal, one_of
from worker.domain.confirmation import WARNINGS
from worker.domain.deliveries import PAYMENT_LATE_AFTER, PAYMENT_TYPES
from worker.domain.refused_messages import IN_VAIN_AFTER
from worker.domain.session import AUTHORIZATION_LIFETIME

# The `last_error` of a delivery that a person gave up. It raises no alarm.
DISCARDED = "discarded by hand"
# Anything older is listed, but raises no alarm.
LAST_DAY = interval(timedelta(days=1))

# --- due sessions

# More due sessions of an account are not counted: it would take long and change nothing.
_MOST_COUNTED = 100_000
# Steps through an index from one account with open sessions to the next. It finds accounts that
# are missing in the settings, too. The last row is null.
OPEN_ACCOUNTS = """
    open_accounts AS (
        (SELECT account FROM payment_sessions WHERE outcome IS NULL ORDER BY 1 LIMIT 1)
        UNION ALL
        SELECT (
            SELECT s.account FROM payment_sessions AS s
            WHERE s.outcome IS NULL AND s.account > previous.account ORDER BY 1 LIMIT 1
        )
        FROM open_accounts AS previous WHERE previous.account IS NOT NULL
    )
"""
# The sessions of a paused account are not late: they wait for the end of the pause.
_DUE_SESSIONS = f"""
    {OPEN_ACCOUNTS},
    due AS (
        SELECT s.account, s.lease_expires_at, GREATEST(s.next_poll_at, a.paused_until) AS due_at
        FROM open_accounts AS o
        LEFT JOIN accounts AS a USING (account)
        CROSS JOIN LATERAL (
            SELECT account, lease_expires_at, next_poll_at
            FROM payment_sessions
            WHERE account = o.account AND outcome IS NULL
                AND next_poll_at <= statement_timestamp()
                AND COALESCE(a.paused_until, '-infinity') <= statement_timestamp()
            ORDER BY next_poll_at
            LIMIT {_MOST_COUNTED}
        ) AS s
    )
"""  # noqa: S608 - constants of this module
# A row for each account that has open sessions.
DUE_BY_ACCOUNT = text(f"""
    WITH RECURSIVE {_DUE_SESSIONS}
    SELECT account, count(due.due_at) AS due,
        EXTRACT(epoch FROM statement_timestamp() - min(due.due_at))::float AS oldest_seconds,
        count(*) FILTER (WHERE due.lease_expires_at > statement_timestamp()) AS in_flight
    FROM open_accounts
    LEFT JOIN due USING (account)
    WHERE account IS NOT NULL
    GROUP BY 1
    ORDER BY 1
""")  # noqa: S608 - constants of this module
DUE_BY_LATENESS = text(f"""
    WITH RECURSIVE {_DUE_SESSIONS}
    SELECT width_bucket(
            EXTRACT(epoch FROM statement_timestamp() - due_at)::float, CAST(:edges AS float[])
        ) AS bucket,
        count(*) AS sessions
    FROM due
    GROUP BY 1
""")  # noqa: S608 - constants of this module

OPEN_SESSIONS_BY_ACCOUNT = text("""
    SELECT account, count(*) AS sessions FROM payment_sessions
    WHERE outcome IS NULL GROUP BY 1 ORDER BY 1
""")

# --- deliveries

_DEAD_LATELY = f"""
    d.dead_at > statement_timestamp() - {LAST_DAY}
    AND d.last_error IS DISTINCT FROM {literal(DISCARDED)}
"""
# `oldest_seconds`: for how long the oldest has been tried. `dead_lettered`: in the last day.
SINKS = text(f"""
    SELECT sink, COALESCE(waiting, 0) AS waiting, oldest_seconds,
        COALESCE(most_attempts, 0) AS most_attempts, COALESCE(dead_lettered, 0) AS dead_lettered,
        disabled_at, reason
    FROM (
        SELECT d.sink, count(*) AS waiting, max(d.attempts) AS most_attempts,
            EXTRACT(epoch FROM statement_timestamp() - min(d.due_since))::float AS oldest_seconds
        FROM outbox_deliveries AS d
        WHERE {pending("d")}
        GROUP BY 1
    ) AS waits
    FULL JOIN (
        SELECT d.sink, count(*) AS dead_lettered
        FROM outbox_deliveries AS d
        WHERE {_DEAD_LATELY}
        GROUP BY 1
    ) AS dead USING (sink)
    FULL JOIN (
        SELECT sink, disabled_at, reason FROM webhook_endpoints WHERE disabled_at IS NOT NULL
    ) AS disabled USING (sink)
    ORDER BY 1
""")  # noqa: S608 - constants of this module
DEAD_BY_SINK = text("""
    SELECT sink, count(*) AS dead FROM outbox_deliveries WHERE dead_at IS NOT NULL GROUP BY 1
""")
# A scan of the whole table: for `stats` alone.
DELIVERED_BY_SINK = text("""
    SELECT sink, count(*) AS delivered FROM outbox_deliveries
    WHERE delivered_at IS NOT NULL GROUP BY 1
""")
UNAVAILABLE_SINKS = text(f"""
    SELECT sink, disabled_at, reason, held_until FROM webhook_endpoints
    WHERE {SINK_UNAVAILABLE}
    ORDER BY sink
""")  # noqa: S608 - constants of this module

# Payments that some sink has not got in time, or never will: then the shop cannot place the order,
# whether or not it confirms orders. A confirmed order needs no event any more.
_OF_PAYMENTS = f"""
    JOIN outbox_messages AS m USING (event_id)
    JOIN payment_sessions AS s ON s.session_id = d.session_id
    WHERE m.event_type IN {one_of(PAYMENT_TYPES)} AND s.confirmed_at IS NULL
        AND d.last_error IS DISTINCT FROM {literal(DISCARDED)}
"""
_UNDELIVERED = f"""
    FROM (
        SELECT d.* FROM outbox_deliveries AS d WHERE {pending("d")}
        UNION ALL
        SELECT d.* FROM outbox_deliveries AS d WHERE {_DEAD_LATELY}
    ) AS d
    {_OF_PAYMENTS}
        AND m.created_at < statement_timestamp() - {interval(PAYMENT_LATE_AFTER)}
"""  # noqa: S608 - constants of this module
UNDELIVERED_PAYMENTS_COUNT = text(f"""
    SELECT count(DISTINCT d.session_id) AS payments {_UNDELIVERED}
""")
UNDELIVERED_PAYMENTS = text(f"""
    SELECT d.session_id, s.reference, s.account, d.event_id, d.sink, d.attempts, d.dead_at,
        d.last_error,
        EXTRACT(epoch FROM statement_timestamp() - m.created_at)::float AS seconds
    {_UNDELIVERED}
    ORDER BY m.created_at DESC
    LIMIT :limit
""")  # noqa: S608 - constants of this module
UNDELIVERED_PAYMENTS_BEFORE = text(f"""
    SELECT count(*) AS deliveries FROM outbox_deliveries AS d {_OF_PAYMENTS}
        AND d.dead_at <= statement_timestamp() - {LAST_DAY}
""")  # noqa: S608 - constants of this module

# --- authorizations without an order

# The minutes that authorizations are counted by: up to 5, 10, 20, and all of the hour.
MINUTES_LEFT = tuple(
    span // timedelta(minutes=1) for span in sorted((*WARNINGS, AUTHORIZATION_LIFETIME))
)
AWAITED = "next_warning_at IS NOT NULL"
EXPIRING = f"""
    {AWAITED}
    AND authorization_expires_at <= statement_timestamp() + {interval(max(WARNINGS))}
"""
LAPSED_LATELY = f"""
    confirmed_at IS NULL AND authorization_lapsed_at > statement_timestamp() - {LAST_DAY}
"""
_LAPSED_BEFORE = f"""
    confirmed_at IS NULL AND authorization_lapsed_at <= statement_timestamp() - {LAST_DAY}
"""
# Each half has an index.
UNCONFIRMED = f"""
    ({AWAITED} OR (authorization_lapsed_at IS NOT NULL AND confirmed_at IS NULL))
"""
_CLASS_OF_TIME_LEFT = " ".join(
    f"WHEN authorization_expires_at <= statement_timestamp() + {interval(span)}"
    f" THEN {span // timedelta(minutes=1)}"
    for span in sorted(WARNINGS)
)
AWAITED_BY_MINUTES_LEFT = text(f"""
    SELECT CASE {_CLASS_OF_TIME_LEFT} ELSE {MINUTES_LEFT[-1]} END AS minutes_left,
        count(*) AS sessions, min(authorization_expires_at) AS first_expires_at
    FROM payment_sessions
    WHERE {AWAITED}
    GROUP BY 1
    ORDER BY 1
""")  # noqa: S608 - constants of this module


def _lapsed(condition: str) -> str:
    return f"""
        SELECT count(*) AS sessions, min(session_id) AS session_id,
            min(authorization_expires_at) AS first_expires_at
        FROM payment_sessions
        WHERE {condition}
    """  # noqa: S608 - constants of this module


LAPSED = text(_lapsed(LAPSED_LATELY))
LAPSED_BEFORE = text(_lapsed(_LAPSED_BEFORE))
OVERDUE_WARNINGS = text("""
    SELECT count(*) AS sessions,
        EXTRACT(epoch FROM statement_timestamp() - min(next_warning_at))::float AS oldest_seconds
    FROM payment_sessions
    WHERE next_warning_at < statement_timestamp()
""")

# --- refused messages

# By task and field, what is not resolved: `retried` are tried again by themselves, of which
# `retried_in_vain` for ten minutes already; `waiting` wait for a person.
REFUSED_MESSAGES = text(f"""
    SELECT task, field,
        count(*) FILTER (WHERE next_try_at IS NULL) AS waiting,
        count(*) FILTER (WHERE next_try_at IS NOT NULL) AS retried,
        count(*) FILTER (
            WHERE next_try_at IS NOT NULL
                AND received_at < statement_timestamp() - {interval(IN_VAIN_AFTER)}
        ) AS retried_in_vain,
        EXTRACT(epoch FROM statement_timestamp() - min(received_at))::float AS oldest_seconds
    FROM refused_messages
    WHERE resolved_at IS NULL
    GROUP BY 1, 2
    ORDER BY 1, 2
""")  # noqa: S608 - a constant of the domain
# Orders confirmed more than a day ago for sessions that nobody has tracked.
UNMATCHED_CONFIRMATIONS = text(f"""
    SELECT session_id, order_id, received_at
    FROM early_confirmations
    WHERE received_at < statement_timestamp() - {LAST_DAY}
    ORDER BY received_at
    LIMIT :limit
""")  # noqa: S608 - constants of this module
