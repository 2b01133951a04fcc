"""The SQL of claiming deliveries and of marking what came of them."""

from __future__ import annotations

from sqlalchemy import text

from worker.adapters.postgres.conditions import SINK_UNAVAILABLE, older_pending, pending
from worker.adapters.postgres.literals import interval, literal
from worker.adapters.postgres.recordset import recordset
from worker.adapters.postgres.sessions.record_sql import ASYNC_COMMIT
from worker.domain.deliveries import LONGEST_AUTHORIZATION_WAIT
from worker.domain.events import EventType
from worker.domain.session import AUTHORIZATION_LIFETIME

_SINK_IS_UNAVAILABLE = f"""
    EXISTS (
        SELECT FROM webhook_endpoints AS e WHERE e.sink = wanted.sink AND {SINK_UNAVAILABLE}
    )
"""
_IS_DUE = f"""
    d.sink = wanted.sink
    AND {pending("d")}
    AND d.next_attempt_at <= statement_timestamp()
    AND NOT EXISTS (SELECT {older_pending("d")})
"""
# Pending deliveries of authorizations, `waiting`, by session and sink. The event says until when
# its token is valid; one of an earlier release may not.
_WAITING_AUTHORIZATIONS = f"""
    FROM outbox_deliveries AS waiting
    JOIN outbox_messages AS authorized USING (event_id)
    WHERE {pending("waiting")} AND authorized.event_type = {literal(EventType.AUTHORIZED)}
"""
_TOKEN_EXPIRES_AT = f"""
    COALESCE(
        CAST(authorized.payload -> 'data' ->> 'authorization_expires_at' AS timestamptz),
        authorized.created_at + {interval(AUTHORIZATION_LIFETIME)}
    )
"""
_LONGEST_HOLD = f"statement_timestamp() + {interval(LONGEST_AUTHORIZATION_WAIT)}"

CLAIM = text(f"""
    WITH head AS (
        SELECT d.event_id, d.sink
        FROM unnest(CAST(:sinks AS text[])) AS wanted(sink)
        JOIN outbox_deliveries AS d
            ON d.session_id = ANY(CAST(:session_ids AS text[])) AND {_IS_DUE}
        WHERE NOT {_SINK_IS_UNAVAILABLE}
        ORDER BY d.next_attempt_at
        LIMIT CAST(:limit AS integer)
        FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE outbox_deliveries AS d
    SET next_attempt_at = statement_timestamp() + :lease, attempts = d.attempts + 1
    FROM head
    JOIN outbox_messages AS m USING (event_id)
    JOIN payment_sessions AS s USING (session_id)
    WHERE d.event_id = head.event_id AND d.sink = head.sink
    RETURNING d.event_id, d.sink, d.session_id, d.attempts, m.payload,
        statement_timestamp() - d.due_since AS age,
        CASE WHEN m.event_type = {literal(EventType.AUTHORIZED)} THEN s.authorization_token END
            AS encrypted_token,
        CASE WHEN s.authorization_token IS NOT NULL THEN (
            SELECT max({_TOKEN_EXPIRES_AT}) {_WAITING_AUTHORIZATIONS}
                AND waiting.session_id = d.session_id AND waiting.sink = d.sink
        ) - statement_timestamp() END AS token_left,
        s.trace_parent
""")  # noqa: S608 - constants of this module

DUE_SESSIONS = text(f"""
    SELECT DISTINCT due.session_id
    FROM unnest(CAST(:sinks AS text[]), CAST(:limits AS integer[])) AS wanted(sink, most),
    LATERAL (
        SELECT d.session_id
        FROM outbox_deliveries AS d
        WHERE {_IS_DUE}
        ORDER BY d.next_attempt_at
        LIMIT wanted.most
    ) AS due
    WHERE NOT {_SINK_IS_UNAVAILABLE}
""")  # noqa: S608 - constants of this module

# `attempts` is the lease: a delivery that was claimed again since then is not marked.
MARKED = {"event_id": "uuid", "sink": "text", "attempts": "integer"}
MARK_DELIVERED = text(f"""
    WITH marked AS (
        UPDATE outbox_deliveries AS d
        SET delivered_at = clock_timestamp(), last_error = NULL
        FROM {recordset("rows", MARKED)}
        WHERE d.event_id = v.event_id AND d.sink = v.sink AND d.attempts = v.attempts
            AND {pending("d")}
        RETURNING d.event_id, d.sink, d.session_id
    )
    SELECT event_id, sink, {ASYNC_COMMIT},
        EXISTS (
            SELECT FROM outbox_deliveries AS other
            WHERE other.session_id = marked.session_id AND other.sink = marked.sink
                AND other.event_id <> marked.event_id
                AND {pending("other")}
        ) AS has_more
    FROM marked
""")  # noqa: S608 - constants of this module
MARK_FAILED = text(f"""
    UPDATE outbox_deliveries AS d
    SET last_error = :error,
        next_attempt_at =
            clock_timestamp() + COALESCE(CAST(:wait AS interval), interval '0'),
        dead_at = CASE WHEN CAST(:wait AS interval) IS NULL THEN clock_timestamp() END
    WHERE d.event_id = :event_id AND d.sink = :sink AND d.attempts = :attempts
        AND {pending("d")}
""")  # noqa: S608 - constants of another module
DISABLE = text("""
    INSERT INTO webhook_endpoints AS e (sink, disabled_at, reason)
    VALUES (:sink, clock_timestamp(), :error)
    ON CONFLICT (sink) DO UPDATE SET disabled_at = EXCLUDED.disabled_at, reason = EXCLUDED.reason
    WHERE e.disabled_at IS NULL
""")
HOLD = text("""
    INSERT INTO webhook_endpoints AS e (sink, held_until)
    VALUES (:sink, clock_timestamp() + :hold)
    ON CONFLICT (sink) DO UPDATE SET held_until = EXCLUDED.held_until
    WHERE e.held_until IS NULL OR e.held_until < EXCLUDED.held_until
""")
# An endpoint may be held for an hour, but not once an authorization waits there. The index of
# stored tokens has few rows, and is read only while an endpoint is held for longer.
SHORTEN_HOLDS = text(f"""
    UPDATE webhook_endpoints AS e
    SET held_until = {_LONGEST_HOLD}
    WHERE e.held_until > {_LONGEST_HOLD}
        AND EXISTS (
            SELECT FROM payment_sessions AS s
            WHERE s.authorization_token IS NOT NULL
                AND EXISTS (
                    SELECT {_WAITING_AUTHORIZATIONS}
                        AND waiting.session_id = s.session_id AND waiting.sink = e.sink
                        AND {_TOKEN_EXPIRES_AT} > statement_timestamp()
                )
        )
""")  # noqa: S608 - constants of this module
