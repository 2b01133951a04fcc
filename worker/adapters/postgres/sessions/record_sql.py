"""The SQL of loading, releasing and recording; times are by the database's clock."""

from __future__ import annotations

from sqlalchemy import text

from worker.adapters.postgres import tables
from worker.adapters.postgres.conditions import NOT_LEASED
from worker.adapters.postgres.literals import interval, one_of
from worker.adapters.postgres.outbox.rows import WRITE_MESSAGES
from worker.adapters.postgres.recordset import recordset
from worker.adapters.postgres.sessions.rows import ACCOUNT_COLUMNS, RECORDED_COLUMNS
from worker.domain import claiming
from worker.domain.session import Outcome

# By name: a prepared statement with `*` fails once the table has another column.
_SESSION = ", ".join(
    f"p.{column.name}"
    for column in tables.payment_sessions.columns
    if column.name != "polled_seconds"  # large, and only for people
)

ACCOUNT_STATE = ", ".join(
    f"a.{column} AS account_{name}" for name, column in ACCOUNT_COLUMNS.items()
)
_WITH_ACCOUNT = f"""
    SELECT s.*, clock_timestamp() AS loaded_at, {ACCOUNT_STATE}
    FROM {{source}} AS s
    LEFT JOIN accounts AS a USING (account)
"""  # noqa: S608 - constants of this module

# Selected by statements whose commit may be lost in a crash of the database: the work is repeated.
ASYNC_COMMIT = "(SELECT set_config('synchronous_commit', 'off', true))"

LOAD_TYPES = {"session_id": "text", "lease_id": "uuid", "renewed_id": "uuid"}
# The lease gets a new id, so that a second delivery of the same task message finds nothing.
LOAD = text(f"""
    WITH loaded AS (
        UPDATE payment_sessions AS p
        SET lease_id = v.renewed_id, lease_expires_at = statement_timestamp() + :lease
        FROM {recordset("rows", LOAD_TYPES)}
        WHERE p.session_id = v.session_id
            AND p.lease_id = v.lease_id
            AND p.lease_expires_at > statement_timestamp()
            AND p.outcome IS NULL
        RETURNING {_SESSION}, {ASYNC_COMMIT}
    )
    {_WITH_ACCOUNT.format(source="loaded")}
""")  # noqa: S608 - constants of this module

RELEASE = text("""
    UPDATE payment_sessions
    SET lease_id = NULL, lease_expires_at = NULL
    WHERE session_id = ANY(CAST(:session_ids AS text[]))
        AND lease_id = ANY(CAST(:lease_ids AS uuid[]))
""")

HOLD = text("""
    UPDATE payment_sessions
    SET lease_expires_at = statement_timestamp() + CAST(:lease AS interval)
    WHERE session_id = ANY(CAST(:session_ids AS text[]))
        AND lease_id = ANY(CAST(:lease_ids AS uuid[]))
""")

# The sessions of a paused account are due when the pause ends.
NEXT_DUE = text(f"""
    SELECT min(GREATEST(due.next_poll_at, a.paused_until)) - statement_timestamp() AS wait
    FROM unnest(CAST(:accounts AS text[])) AS wanted(account)
    LEFT JOIN accounts AS a USING (account),
    LATERAL (
        SELECT next_poll_at
        FROM payment_sessions
        WHERE account = wanted.account
            AND outcome IS NULL
            AND {NOT_LEASED}
        ORDER BY next_poll_at
        LIMIT 1
    ) AS due
""")  # noqa: S608 - constants of another module

# Only sessions of accounts that Klarna keeps refusing, because they are not read. Any other session
# is read sooner or later, and a failed read gives it up if it is time.
OVERDUE_ENDS = text(f"""
    WITH over AS (
        SELECT session_id
        FROM payment_sessions
        JOIN accounts AS a USING (account)
        WHERE outcome IS NULL
            AND a.refusals > 0
            AND a.paused_until > statement_timestamp() - {interval(claiming.REFUSED_RECENTLY)}
            AND GREATEST(
                COALESCE(expires_at, tracked_at + :max_lifetime), tracked_at, nudged_at
            ) < statement_timestamp() - {interval(claiming.GIVE_UP_UNREAD_AFTER)}
            AND {NOT_LEASED}
        LIMIT :limit
        FOR UPDATE OF payment_sessions SKIP LOCKED
    ),
    leased AS (
        UPDATE payment_sessions AS p
        SET lease_id = :lease_id,
            lease_expires_at = statement_timestamp() + {interval(claiming.GIVE_UP_LEASE)}
        FROM over
        WHERE p.session_id = over.session_id
        RETURNING {_SESSION}
    )
    {_WITH_ACCOUNT.format(source="leased")}
""")  # noqa: S608 - constants of this module

_GUESSES = one_of(outcome for outcome in Outcome if outcome.is_guess)
_NUDGED_SINCE_LOAD = "COALESCE(p.nudged_at > v.loaded_at, false)"
_NUDGED = f"({_NUDGED_SINCE_LOAD} AND v.outcome IS NULL AND v.may_repeat)"
# A failed read does not overwrite what the shop corrected since the session was loaded.
_CORRECTED = f"({_NUDGED_SINCE_LOAD} AND v.last_read_at IS DISTINCT FROM v.last_polled_at)"
_CORRECTIBLE = (
    "expires_at",
    "consecutive_failures",
    "failing_since",
    "not_found_count",
    "not_found_since",
)
RECORD_TYPES = RECORDED_COLUMNS | {
    "session_id": "text",
    "lease_id": "uuid",
    "loaded_at": "timestamptz",
    "may_repeat": "boolean",
    "authorization_token": "bytea",
}
_SET = ",\n        ".join(
    f"{name} = CASE WHEN {_CORRECTED} THEN p.{name} ELSE v.{name} END"
    if name in _CORRECTIBLE
    else f"{name} = v.{name}"
    for name in RECORDED_COLUMNS
    if name not in {"next_poll_at", "next_warning_at"}
)
# For people only, so it must never make the statement fail, not even after the clock was set back.
_POLLED = """floor(
                LEAST(GREATEST(EXTRACT(epoch FROM v.last_polled_at - p.tracked_at), 0), 2147483647)
            )::integer
            # CASE WHEN v.last_read_at IS DISTINCT FROM v.last_polled_at THEN -1 ELSE 0 END"""
POLLS_KEPT = 200
# In the FROM clause, so that it applies before the first row is locked.
_SET_LOCK_TIMEOUT = "(SELECT set_config('lock_timeout', CAST(:lock_timeout AS text), true)) AS wait"
# Rows are locked in the order of their ids, so that batches that overlap cannot deadlock. A guessed
# outcome is dropped if the shop nudged the session since it was loaded. Then the lease runs out and
# the session is read again.
_RECORD = f"""
    WITH v AS (
        SELECT v.*
        FROM {_SET_LOCK_TIMEOUT}, {recordset("rows", RECORD_TYPES)}
        JOIN payment_sessions AS locked
            ON locked.session_id = v.session_id AND locked.lease_id = v.lease_id
        ORDER BY v.session_id
        FOR UPDATE OF locked
    ),
    recorded AS (
        UPDATE payment_sessions AS p
        SET {_SET},
            authorization_token = COALESCE(v.authorization_token, p.authorization_token),
            next_warning_at = CASE WHEN p.confirmed_at IS NULL THEN v.next_warning_at END,
            polled_seconds = CASE WHEN v.poll_count > p.poll_count
                THEN (({_POLLED}) || p.polled_seconds)[1:{POLLS_KEPT}] ELSE p.polled_seconds END,
            next_poll_at = CASE WHEN {_NUDGED} THEN clock_timestamp() ELSE v.next_poll_at END,
            lease_id = CASE WHEN {_NUDGED} THEN p.lease_id END,
            lease_expires_at = CASE WHEN {_NUDGED} THEN p.lease_expires_at END
        FROM v
        WHERE p.session_id = v.session_id AND p.lease_id = v.lease_id
            AND NOT ({_NUDGED_SINCE_LOAD}
                AND COALESCE(v.outcome IN {_GUESSES}, false))
        RETURNING v.lease_id AS held_id, p.session_id, p.lease_id, p.shop_objects
    )
"""  # noqa: S608 - constants of this module
RECORD_UNCHANGED = text(
    f"{_RECORD} SELECT held_id, session_id, lease_id, {ASYNC_COMMIT} FROM recorded"  # noqa: S608
)

# Decisions with transitions and events, each on another session. Nothing is written for a session
# whose lease was lost.
TRANSITION_TYPES = {
    "session_id": "text",
    "sequence": "integer",
    "from_status": "text",
    "to_status": "text",
    "occurred_at": "timestamptz",
    "observed_at": "timestamptz",
    "previous_read_at": "timestamptz",
}
RECORD = text(f"""
    {_RECORD},
    transitions AS (
        INSERT INTO status_transitions ({", ".join(TRANSITION_TYPES)})
        SELECT v.*
        FROM {recordset("transitions", TRANSITION_TYPES)} JOIN recorded USING (session_id)
    ),
    {WRITE_MESSAGES}
    SELECT held_id, session_id, lease_id FROM recorded
""")  # noqa: S608 - constants of this module
