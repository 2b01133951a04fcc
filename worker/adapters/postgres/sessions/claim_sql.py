"""The SQL of claiming: what is due, the most valuable first, within every limit of the account."""

from __future__ import annotations

from sqlalchemy import TextClause, text

from worker.adapters.postgres.sessions.record_sql import ASYNC_COMMIT
from worker.domain.account import BREAKER_FAILURES

# How much more the account may have under way. An account that is probed sends one request. A claim
# takes half of the tasks that are left: the fewer there are, the more sessions each carries, so
# that a budget paid out in small change does not use all of them up on a session each.
_CAPACITY = f"""
    SELECT
        CASE
            WHEN a.paused_until > statement_timestamp() THEN 0
            WHEN a.refusals > 0 OR a.failures >= {BREAKER_FAILURES} THEN 1
            ELSE :sessions_in_flight
        END - live.sessions AS sessions,
        LEAST(:tasks, CEIL((:tasks_in_flight - live.tasks) / 2.0)::integer) AS tasks
    FROM (
        SELECT count(*) AS sessions, count(DISTINCT lease_id) AS tasks
        FROM payment_sessions
        WHERE account = :account
            AND lease_id IS NOT NULL
            AND lease_expires_at > statement_timestamp()
    ) AS live
    LEFT JOIN accounts AS a ON a.account = :account
"""  # noqa: S608 - a constant

# A few sessions have a task each. Of more, each task carries four times as many as there are tasks:
# it costs as much as several polls.
_TASKS_OF_THEIR_OWN = 4

# So many of the longest due are looked at; where there are more, which takes an overload, also so
# many of those whose lateness has just come to a quarter of a second, a half, one, two, four … up
# to 36 hours. So each session is looked at again with every doubling of its lateness.
_LOOKED_AT = 2000
_SAMPLED = 300
_DOUBLINGS = 19

_WAITED = "EXTRACT(epoch FROM statement_timestamp() - COALESCE(last_read_at, tracked_at))::float"
_PLANNED = "EXTRACT(epoch FROM next_poll_at - COALESCE(last_read_at, tracked_at))::float"
_READ_LONG_AGO = "last_read_at BETWEEN {now} - interval '60 min' AND {now} - interval '40 min'"
_SOON_OVER = "expires_at BETWEEN {now} AND {now} + interval '{soon}'"


def _now(condition: str, **spans: str) -> str:
    return condition.format(now="statement_timestamp()", **spans)


# How many times its ideal interval a session has waited; the gain of a read grows with its square.
# Who was never read, or nudged, is worth most; a session that is nearly over counts double. Old
# tokens get no more than their waiting gives them: under a lasting overload most of what waits is
# as old, and would take the budget from who pays just now (benchmarks/governor.py).
_LATENESS_RATIO = f"""
    CASE
        WHEN nudged_at > COALESCE(last_polled_at, '-infinity') THEN 'Infinity'::float
        WHEN last_read_at IS NULL AND consecutive_failures = 0 THEN 'Infinity'::float
        ELSE {_WAITED} / GREATEST(1, COALESCE(ideal_interval_seconds, {_PLANNED}))
            * CASE WHEN {_now(_SOON_OVER, soon="2 min")} THEN 2 ELSE 1 END
    END
"""
# After an outage: when the token of whoever paid right after the last read ends, or the session.
_LOST_AT = f"""
    LEAST(
        CASE WHEN {_now(_READ_LONG_AGO)} THEN last_read_at + interval '60 min' END,
        CASE WHEN {_now(_SOON_OVER, soon="20 min")} THEN expires_at END
    )
"""
_IS_CLAIMABLE = """
    outcome IS NULL
        AND next_poll_at <= statement_timestamp()
        AND (lease_id IS NULL OR lease_expires_at <= statement_timestamp())
"""
_ORDER = """
    CASE WHEN CAST(:urgent_first AS boolean) THEN lost_at END NULLS LAST,
    lateness_ratio DESC,
    next_poll_at
"""


def _looked_at(condition: str, *, limit: str) -> str:
    return f"""
        SELECT session_id, next_poll_at, {_LATENESS_RATIO} AS lateness_ratio, {_LOST_AT} AS lost_at
        FROM payment_sessions
        WHERE account = :account AND {_IS_CLAIMABLE} {condition}
        ORDER BY next_poll_at
        LIMIT {limit}
    """  # noqa: S608 - constants of this module


_WITHIN_A_DOUBLING = """
    AND next_poll_at > statement_timestamp() - interval '250 ms' * 2 ^ doubling
    AND next_poll_at <= statement_timestamp()
        - interval '250 ms' * CASE WHEN doubling > 0 THEN 2 ^ (doubling - 1) ELSE 0 END
"""


def _claim(condition: str = "", answered: str = "") -> TextClause:
    some = f"(SELECT CASE WHEN sessions > 0 THEN {_LOOKED_AT} ELSE 0 END FROM wanted)"  # noqa: S608
    return text(f"""
        WITH capacity AS ({_CAPACITY}),
        wanted AS (
            SELECT GREATEST(
                    0, LEAST(sessions, tasks * :sessions_per_task, CAST(:available AS integer))
                ) AS sessions
            FROM capacity
        ),
        longest_due AS ({_looked_at(condition, limit=some)}),
        others_due AS (
            SELECT other.*
            FROM generate_series(0, {_DOUBLINGS}) AS doubling
            CROSS JOIN LATERAL (
                {_looked_at(condition + _WITHIN_A_DOUBLING, limit=str(_SAMPLED))}
            ) AS other
            WHERE (SELECT count(*) FROM longest_due) = {_LOOKED_AT}
        ),
        best AS (
            SELECT * FROM (SELECT * FROM longest_due UNION SELECT * FROM others_due) AS looked_at
            ORDER BY {_ORDER}
            -- Enough for what another claimer takes meanwhile.
            LIMIT (SELECT 2 * sessions + 100 FROM wanted)
        ),
        due AS (
            SELECT session_id, best.lost_at, best.lateness_ratio, p.next_poll_at
            FROM best
            JOIN payment_sessions AS p USING (session_id, next_poll_at)
            WHERE {_IS_CLAIMABLE}
            ORDER BY {_ORDER}
            LIMIT (SELECT sessions FROM wanted)
            FOR UPDATE OF p SKIP LOCKED
        ),
        numbered AS (
            SELECT
                session_id, lateness_ratio,
                row_number() OVER (ORDER BY {_ORDER}) - 1 AS place,
                LEAST(
                    (SELECT tasks FROM capacity),
                    GREATEST({_TASKS_OF_THEIR_OWN}, CEIL(SQRT(count(*) OVER ()) / 2))
                ) AS tasks
            FROM due
        )
        UPDATE payment_sessions AS p
        SET lease_id = (CAST(:lease_ids AS uuid[]))[
                CAST(1 + numbered.place % CAST(numbered.tasks AS integer) AS integer)
            ],
            lease_expires_at = statement_timestamp() + :lease
        FROM numbered
        WHERE p.session_id = numbered.session_id
        RETURNING p.session_id, p.lease_id, numbered.lateness_ratio{answered}
    """)  # noqa: S608 - what it is given are the constants below


CLAIM_DUE = _claim(answered=f", {ASYNC_COMMIT}")
CLAIM_TRACKED = _claim("AND session_id = ANY(CAST(:session_ids AS text[]))")
