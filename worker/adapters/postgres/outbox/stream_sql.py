"""The SQL of finding that a stream was lost, and of redelivering what was in it."""

from __future__ import annotations

from sqlalchemy import text

from worker.adapters.postgres.conditions import pending

GENERATION = text("SELECT generation FROM stream_generations WHERE stream = :stream")
FIRST_GENERATION = text("""
    INSERT INTO stream_generations (stream, generation) VALUES (:stream, :new)
    ON CONFLICT (stream) DO NOTHING
""")
RENEW_GENERATION = text("""
    UPDATE stream_generations
    SET generation = :new,
        resend_from = statement_timestamp() - :since,
        resend_until = clock_timestamp()
    WHERE stream = :stream AND generation = :old
""")
# Bump `attempts`, so that deliveries under way to the lost stream cannot be marked delivered.
INVALIDATE_ATTEMPTS = text(f"""
    UPDATE outbox_deliveries AS d
    SET attempts = attempts + 1, next_attempt_at = statement_timestamp()
    WHERE d.sink = :sink AND {pending("d")} AND d.attempts > 0
""")  # noqa: S608 - constants of another module
REDELIVER = text("""
    WITH batch AS (
        SELECT d.event_id, d.sink
        FROM stream_generations AS g
        JOIN outbox_deliveries AS d
            ON d.sink = :sink AND d.delivered_at BETWEEN g.resend_from AND g.resend_until
        WHERE g.stream = :stream
        ORDER BY d.delivered_at
        LIMIT :limit
        FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE outbox_deliveries AS d
    SET delivered_at = NULL, next_attempt_at = statement_timestamp()
    FROM batch
    WHERE d.event_id = batch.event_id AND d.sink = batch.sink
""")
REDELIVERED = text("""
    UPDATE stream_generations SET resend_from = NULL, resend_until = NULL
    WHERE stream = :stream AND resend_from IS NOT NULL
""")
