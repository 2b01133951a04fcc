"""The SQL of claiming: due sessions, the most valuable first, within every limit of the account."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import TextClause, text

from worker.adapters.postgres.conditions import NOT_LEASED
from worker.adapters.postgres.literals import interval
from worker.adapters.postgres.sessions.record_sql import ASYNC_COMMIT
from worker.domain import claiming
from worker.domain.account import BREAKER_FAILURES
from worker.domain.session import AUTHORIZATION_LIFETIME

# How many more sessions and tasks the account may have under way.
_CAPACITY = f"""
    SELECT
        CASE
            WHEN a.paused_until > statement_timestamp() THEN 0
            WHEN a.refusals > 0 OR a.failures >= {BREAKER_FAILURES} THEN {claiming.PROBES_IN_FLIGHT}
            ELSE :sessions_in_flight
        END - live.sessions AS sessions,
        LEAST(
            :tasks,
            CEIL((:tasks_in_flight - live.tasks) * {claiming.SHARE_OF_FREE_TASKS})::integer
        ) AS tasks
    FROM (
        SELECT count(*) AS sessions, count(DISTINCT lease_id) AS tasks
        FROM payment_sessions
        WHERE account = :account
            AND lease_id IS NOT NULL
            AND lease_expires_at > statement_timestamp()
    ) AS live
    LEFT JOIN accounts AS a ON a.account = :account
"""  # noqa: S608 - a constant

# The claim reads this many of the sessions that have been due longest. In an overload there are
# more: then it also reads a sample of the sessions that have been due for 1/4 s, 1/2 s, 1 s, 2 s …
# up to 36 hours. So every session is considered again each time its lateness doubles.
_LONGEST_DUE = 2000
_SAMPLED = 300
_DOUBLINGS = 19
_FIRST_LATENESS = interval(timedelta(milliseconds=250))

_WAITED = "EXTRACT(epoch FROM statement_timestamp() - COALESCE(last_read_at, tracked_at))::float"
_PLANNED = "EXTRACT(epoch FROM next_poll_at - COALESCE(last_read_at, tracked_at))::float"
_LEAST_URGENT, _MOST_URGENT = map(interval, claiming.URGENT_SINCE_READ)
_MAY_HOLD_TOKEN = f"""
    last_read_at BETWEEN statement_timestamp() - {_MOST_URGENT}
        AND statement_timestamp() - {_LEAST_URGENT}
"""


def _expires_within(span: timedelta) -> str:
    return f"""
        expires_at BETWEEN statement_timestamp() AND statement_timestamp() + {interval(span)}
    """


# How many times its ideal interval a session has waited; the gain of a read grows with its square.
# Sessions that were nudged or never read come first; one that expires soon counts double. An old
# token adds nothing: under a lasting overload most waiting sessions may hold one, and would take
# the budget from the consumers who pay now (benchmarks/governor.py).
_LATENESS_RATIO = f"""
    CASE
        WHEN nudged_at > COALESCE(last_polled_at, '-infinity') THEN 'Infinity'::float
        WHEN last_read_at IS NULL AND consecutive_failures = 0 THEN 'Infinity'::float
        ELSE {_WAITED} / GREATEST(
                {claiming.LEAST_IDEAL_INTERVAL_SECONDS},
                COALESCE(ideal_interval_seconds, {_PLANNED})
            )
            * CASE
                WHEN {_expires_within(claiming.EXPIRES_SOON)} THEN {claiming.EXPIRES_SOON_WEIGHT}
                ELSE 1
            END
    END
"""
# After an outage: when the session ends, or the token that a consumer may have got right after the
# last read.
_LOST_AT = f"""
    LEAST(
        CASE WHEN {_MAY_HOLD_TOKEN} THEN last_read_at + {interval(AUTHORIZATION_LIFETIME)} END,
        CASE WHEN {_expires_within(claiming.URGENT_BEFORE_EXPIRY)} THEN expires_at END
    )
"""
_IS_CLAIMABLE = f"""
    outcome IS NULL AND next_poll_at <= statement_timestamp() AND {NOT_LEASED}
"""
_ORDER = """
    CASE WHEN CAST(:urgent_first AS boolean) THEN lost_at END NULLS LAST,
    lateness_ratio DESC,
    next_poll_at
"""


def _considered(condition: str, *, limit: str) -> str:
    return f"""
        SELECT session_id, next_poll_at, {_LATENESS_RATIO} AS lateness_ratio, {_LOST_AT} AS lost_at
        FROM payment_sessions
        WHERE account = :account AND {_IS_CLAIMABLE} {condition}
        ORDER BY next_poll_at
        LIMIT {limit}
    """  # noqa: S608 - constants of this module


_WITHIN_A_DOUBLING = f"""
    AND next_poll_at > statement_timestamp() - {_FIRST_LATENESS} * 2 ^ doubling
    AND next_poll_at <= statement_timestamp()
        - {_FIRST_LATENESS} * CASE WHEN doubling > 0 THEN 2 ^ (doubling - 1) ELSE 0 END
"""


_WANTED = f"""
    capacity AS ({_CAPACITY}),
    wanted AS (
        SELECT GREATEST(
                0, LEAST(sessions, tasks * :sessions_per_task, CAST(:available AS integer))
            ) AS sessions
        FROM capacity
    )
"""  # noqa: S608 - constants of this module
# More are chosen than needed, because another claim may take some before they are locked.
_CHOSEN = f"""
    best AS (
        SELECT * FROM (SELECT * FROM longest_due UNION SELECT * FROM others_due) AS considered
        ORDER BY {_ORDER}
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
            row_number() OVER (ORDER BY {_ORDER}) - 1 AS number,
            LEAST(
                (SELECT tasks FROM capacity),
                GREATEST(
                    {claiming.TASKS_OF_ONE_SESSION},
                    CEIL(SQRT(count(*) OVER () / {claiming.SESSIONS_PER_TASK_RATIO}::float))
                )
            ) AS tasks
        FROM due
    )
"""  # noqa: S608 - constants of this module


def _candidates(condition: str) -> str:
    some = f"(SELECT CASE WHEN sessions > 0 THEN {_LONGEST_DUE} ELSE 0 END FROM wanted)"  # noqa: S608
    return f"""
        longest_due AS ({_considered(condition, limit=some)}),
        others_due AS (
            SELECT other.*
            FROM generate_series(0, {_DOUBLINGS}) AS doubling
            CROSS JOIN LATERAL (
                {_considered(condition + _WITHIN_A_DOUBLING, limit=str(_SAMPLED))}
            ) AS other
            WHERE (SELECT count(*) FROM longest_due) = {_LONGEST_DUE}
        )
    """  # noqa: S608 - constants of this module


def _claim(condition: str = "", returned: str = "") -> TextClause:
    return text(f"""
        WITH {_WANTED}, {_candidates(condition)}, {_CHOSEN}
        UPDATE payment_sessions AS p
        SET lease_id = (CAST(:lease_ids AS uuid[]))[
                CAST(1 + numbered.number % CAST(numbered.tasks AS integer) AS integer)
            ],
            lease_expires_at = statement_timestamp() + :lease
        FROM numbered
        WHERE p.session_id = numbered.session_id
        RETURNING p.session_id, p.lease_id, numbered.lateness_ratio{returned}
    """)  # noqa: S608 - constants of this module


CLAIM_DUE = _claim(returned=f", {ASYNC_COMMIT}")
CLAIM_TRACKED = _claim("AND session_id = ANY(CAST(:session_ids AS text[]))")
