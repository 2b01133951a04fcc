"""The hand-written SQL of claiming, loading and recording; times are the database's own."""

from __future__ import annotations

from sqlalchemy import TextClause, text

from worker.adapters.postgres import tables
from worker.adapters.postgres.session_rows import RECORDED_COLUMNS

# How much more the account may have under way. An account that was refused sends one probe.
_CAPACITY = """
    SELECT
        CASE
            WHEN a.paused_until > statement_timestamp() THEN 0
            WHEN a.refusals > 0 THEN 1
            ELSE :sessions_in_flight
        END - live.sessions AS sessions,
        LEAST(:tasks, :tasks_in_flight - live.tasks) AS tasks
    FROM (
        SELECT count(*) AS sessions, count(DISTINCT lease_id) AS tasks
        FROM payment_sessions
        WHERE account = :account
            AND lease_id IS NOT NULL
            AND lease_expires_at > statement_timestamp()
    ) AS live
    LEFT JOIN accounts AS a ON a.account = :account
"""


def _claim(condition: str) -> TextClause:
    return text(f"""
        WITH capacity AS ({_CAPACITY}),
        due AS (
            SELECT session_id, next_poll_at
            FROM payment_sessions
            WHERE account = :account
                AND outcome IS NULL
                AND next_poll_at <= statement_timestamp()
                AND (lease_id IS NULL OR lease_expires_at <= statement_timestamp())
                {condition}
            ORDER BY next_poll_at
            LIMIT (
                SELECT GREATEST(0, LEAST(sessions, tasks * :sessions_per_task)) FROM capacity
            )
            FOR UPDATE SKIP LOCKED
        ),
        numbered AS (
            SELECT session_id, row_number() OVER (ORDER BY next_poll_at) - 1 AS place FROM due
        )
        UPDATE payment_sessions AS p
        SET lease_id = (CAST(:lease_ids AS uuid[]))[
                CAST(1 + numbered.place % (SELECT GREATEST(1, tasks) FROM capacity) AS integer)
            ],
            lease_expires_at = statement_timestamp() + :lease
        FROM numbered
        WHERE p.session_id = numbered.session_id
        RETURNING p.session_id, p.lease_id
    """)  # noqa: S608 - `condition` is one of the two constants below


CLAIM_DUE = _claim("")
CLAIM_ONE = _claim("AND session_id = :session_id")

# By name: a prepared statement that says `*` fails once the table has got another column.
_SESSION = ", ".join(f"p.{column.name}" for column in tables.payment_sessions.columns)

_WITH_ACCOUNT = """
    SELECT s.*, clock_timestamp() AS loaded_at,
        a.version AS account_version, a.paused_until AS account_paused_until,
        a.refusals AS account_refusals, a.throttles AS account_throttles,
        a.last_read_at AS account_last_read_at
    FROM {source} AS s
    LEFT JOIN accounts AS a USING (account)
"""

# The lease changes hands here: a second delivery of the same message finds nothing.
LOAD = text(f"""
    WITH loaded AS (
        UPDATE payment_sessions AS p
        SET lease_id = :renewed_id, lease_expires_at = statement_timestamp() + :lease
        WHERE session_id = ANY(CAST(:session_ids AS text[]))
            AND lease_id = :lease_id
            AND lease_expires_at > statement_timestamp()
            AND outcome IS NULL
        RETURNING {_SESSION}
    )
    {_WITH_ACCOUNT.format(source="loaded")}
""")  # noqa: S608 - constants of this module

RELEASE = text("""
    UPDATE payment_sessions
    SET lease_id = NULL, lease_expires_at = NULL
    WHERE session_id = ANY(CAST(:session_ids AS text[]))
        AND lease_id = ANY(CAST(:lease_ids AS uuid[]))
""")

# What is due already and not leased counts as now; a paused account's sessions wait for its end.
NEXT_DUE = text("""
    SELECT min(GREATEST(due.next_poll_at, a.paused_until)) - statement_timestamp() AS wait
    FROM unnest(CAST(:accounts AS text[])) AS wanted(account)
    LEFT JOIN accounts AS a USING (account),
    LATERAL (
        SELECT next_poll_at
        FROM payment_sessions
        WHERE account = wanted.account
            AND outcome IS NULL
            AND (lease_id IS NULL OR lease_expires_at <= statement_timestamp())
        ORDER BY next_poll_at
        LIMIT 1
    ) AS due
""")

# Sessions that are not read because Klarna refuses their account, just now and again and again.
# All others are read when they can be, however late: a read that fails gives up by itself.
OVERDUE_ENDS = text(f"""
    WITH over AS (
        SELECT session_id
        FROM payment_sessions
        JOIN accounts AS a USING (account)
        WHERE outcome IS NULL
            AND a.refusals > 0
            AND a.paused_until > statement_timestamp() - interval '10 minutes'
            AND GREATEST(
                COALESCE(expires_at, tracked_at + :max_lifetime), tracked_at, nudged_at
            ) < statement_timestamp() - interval '25 hours'
            AND (lease_id IS NULL OR lease_expires_at <= statement_timestamp())
        LIMIT :limit
        FOR UPDATE OF payment_sessions SKIP LOCKED
    ),
    leased AS (
        UPDATE payment_sessions AS p
        SET lease_id = :lease_id, lease_expires_at = statement_timestamp() + interval '60 seconds'
        FROM over
        WHERE p.session_id = over.session_id
        RETURNING {_SESSION}
    )
    {_WITH_ACCOUNT.format(source="leased")}
""")  # noqa: S608 - constants of this module

_SPOKEN_MEANWHILE = "COALESCE(p.nudged_at > v.loaded_at, false)"
_NUDGED = f"({_SPOKEN_MEANWHILE} AND v.outcome IS NULL AND v.may_repeat)"
# A failed read knows nothing better than what the shop corrected while it was under way.
_CORRECTED = f"({_SPOKEN_MEANWHILE} AND v.last_read_at IS DISTINCT FROM v.last_polled_at)"
_CORRECTIBLE = (
    "expires_at",
    "consecutive_failures",
    "failing_since",
    "not_found_count",
    "not_found_since",
)
_TYPES = RECORDED_COLUMNS | {
    "session_id": "text",
    "lease_id": "uuid",
    "loaded_at": "timestamptz",
    "may_repeat": "boolean",
    "authorization_token": "bytea",
}
RECORD_PARAMETERS = tuple(_TYPES)
_SET = ",\n        ".join(
    f"{name} = CASE WHEN {_CORRECTED} THEN p.{name} ELSE v.{name} END"
    if name in _CORRECTIBLE
    else f"{name} = v.{name}"
    for name in RECORDED_COLUMNS
    if name not in {"next_poll_at", "next_warning_at"}
)
_ARRAYS = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _TYPES.items())

# One row or many, always in the order of the ids: groups that overlap cannot deadlock. A guess is
# not written over what the shop said meanwhile: the lease runs out and the session is read again.
RECORD = text(f"""
    WITH v AS (
        SELECT v.*
        FROM unnest({_ARRAYS}) AS v({", ".join(_TYPES)})
        JOIN payment_sessions AS locked
            ON locked.session_id = v.session_id AND locked.lease_id = v.lease_id
        ORDER BY v.session_id
        FOR UPDATE OF locked
    )
    UPDATE payment_sessions AS p
    SET {_SET},
        authorization_token = COALESCE(v.authorization_token, p.authorization_token),
        next_warning_at = CASE WHEN p.confirmed_at IS NULL THEN v.next_warning_at END,
        next_poll_at = CASE WHEN {_NUDGED} THEN clock_timestamp() ELSE v.next_poll_at END,
        lease_id = CASE WHEN {_NUDGED} THEN p.lease_id END,
        lease_expires_at = CASE WHEN {_NUDGED} THEN p.lease_expires_at END
    FROM v
    WHERE p.session_id = v.session_id AND p.lease_id = v.lease_id
        AND NOT ({_SPOKEN_MEANWHILE} AND COALESCE(v.outcome IN ('expired', 'not_found'), false))
    RETURNING v.lease_id AS held_id, p.session_id, p.lease_id
""")  # noqa: S608 - constants of this module

SAVE_ACCOUNT = text("""
    INSERT INTO accounts (account, version, paused_until, refusals, throttles, last_read_at)
    VALUES (:account, 1, :paused_until, :refusals, :throttles, :last_read_at)
    ON CONFLICT (account) DO UPDATE
    SET version = accounts.version + 1,
        paused_until = EXCLUDED.paused_until,
        refusals = EXCLUDED.refusals,
        throttles = EXCLUDED.throttles,
        last_read_at = EXCLUDED.last_read_at
    WHERE accounts.version = :version
""")
