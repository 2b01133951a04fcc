"""The SQL of claiming deliveries and of marking what came of them."""

from __future__ import annotations

from sqlalchemy import text

from worker.adapters.postgres.conditions import SINK_UNAVAILABLE, older_pending, pending
from worker.adapters.postgres.literals import literal
from worker.adapters.postgres.recordset import recordset
from worker.adapters.postgres.sessions.record_sql import ASYNC_COMMIT
from worker.domain.events import EventType

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
