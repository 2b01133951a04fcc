"""What a person changes in the outbox: deliveries sent again or given up, endpoints enabled.

Blocking; beat's next sweep finds what is due.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

from worker.adapters.postgres.reports.events import DISCARDED, MATCHES, DeliveryFilter

BATCH = 1000

_FROM = f"""
    FROM outbox_messages AS m
    JOIN outbox_deliveries AS d USING (event_id)
    JOIN payment_sessions AS s ON s.session_id = m.session_id
    WHERE {MATCHES}
"""
# With its token, where it is to carry one.
_IS_WHOLE = """
    (m.event_type <> 'payment_session.authorized' OR s.authorization_token IS NOT NULL)
"""
_IS_MEANT = f"""
    d.sink = ANY(CAST(:sinks AS text[]))
    AND (CAST(:without_token AS boolean) OR {_IS_WHOLE})
"""
_COUNT = text(f"""
    SELECT statement_timestamp() AS counted_at,
        count(*) FILTER (WHERE {_IS_MEANT}) AS deliveries,
        count(DISTINCT d.event_id) FILTER (WHERE {_IS_MEANT}) AS events,
        count(DISTINCT d.event_id) FILTER (WHERE NOT {_IS_WHOLE}) AS without_token,
        array_agg(DISTINCT d.sink) FILTER (WHERE d.sink <> ALL(CAST(:sinks AS text[]))) AS unknown
    {_FROM}
""")
# `attempts` is the lease of a pending one: what is on its way just now is another's to mark.
_REPLAY = text(f"""
    WITH batch AS (
        SELECT d.event_id, d.sink
        {_FROM} AND {_IS_MEANT} AND d.due_since < :counted_at
        ORDER BY m.created_at, m.session_id, m.sequence
        LIMIT :limit
        FOR UPDATE OF d
    )
    UPDATE outbox_deliveries AS d
    SET attempts =
            CASE WHEN d.delivered_at IS NULL AND d.dead_at IS NULL THEN d.attempts ELSE 0 END,
        delivered_at = NULL, dead_at = NULL, last_error = NULL,
        due_since = statement_timestamp(), next_attempt_at = statement_timestamp()
    FROM batch
    WHERE d.event_id = batch.event_id AND d.sink = batch.sink
""")  # noqa: S608 - constants of this module and its neighbour
_PENDING = text("""
    SELECT count(*) FROM outbox_deliveries
    WHERE sink = :sink AND delivered_at IS NULL AND dead_at IS NULL
""")
_DISCARD = text("""
    UPDATE outbox_deliveries
    SET dead_at = clock_timestamp(), last_error = :discarded
    WHERE (event_id, sink) IN (
        SELECT event_id, sink FROM outbox_deliveries
        WHERE sink = :sink AND delivered_at IS NULL AND dead_at IS NULL
        LIMIT :limit
        FOR UPDATE
    )
""")
_ENABLE = text("""
    UPDATE webhook_endpoints SET disabled_at = NULL, reason = NULL, held_until = NULL
    WHERE sink = :sink AND (disabled_at IS NOT NULL OR held_until > statement_timestamp())
""")
# Its three days begin anew: the time it was disabled is not time it was tried.
_BEGIN_ANEW = text("""
    UPDATE outbox_deliveries
    SET due_since = clock_timestamp(), next_attempt_at = clock_timestamp()
    WHERE sink = :sink AND delivered_at IS NULL AND dead_at IS NULL
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayable:
    """What a replay would send: `without_token` counts authorized events whose token is erased."""

    deliveries: int
    events: int
    without_token: int
    unknown_sinks: tuple[str, ...]
    counted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Which deliveries to send again: to `sinks` alone, those that are configured.

    An authorized event whose token is erased is left out, unless `without_token` says to send it
    as it is.
    """

    wanted: DeliveryFilter
    sinks: Collection[str]
    without_token: bool = False

    def count(self, engine: Engine) -> Replayable:
        """Return what `send` would do."""
        with engine.connect() as connection:
            row = connection.execute(_COUNT, self._values()).one()
        return Replayable(
            deliveries=row.deliveries,
            events=row.events,
            without_token=row.without_token,
            unknown_sinks=tuple(row.unknown or ()),
            counted_at=row.counted_at,
        )

    def send(self, engine: Engine, counted: Replayable) -> Iterator[int]:
        """Make what was counted due, under its old ids, a batch at a time; returns each count."""
        values = self._values() | {"counted_at": counted.counted_at, "limit": BATCH}
        while True:
            with engine.begin() as connection:
                done = connection.execute(_REPLAY, values).rowcount
            if not done:
                return
            yield done

    def _values(self) -> dict[str, object]:
        return self.wanted.values() | {
            "sinks": list(self.sinks),
            "without_token": self.without_token,
        }


def count_pending(engine: Engine, sink: str) -> int:
    """Return how many deliveries wait for the sink."""
    with engine.connect() as connection:
        return int(connection.execute(_PENDING, {"sink": sink}).scalar_one())


def discard(engine: Engine, sink: str) -> Iterator[int]:
    """Give up what waits for the sink, a batch at a time; returns each batch's count."""
    values = {"sink": sink, "limit": BATCH, "discarded": DISCARDED}
    while True:
        with engine.begin() as connection:
            done = connection.execute(_DISCARD, values).rowcount
        if not done:
            return
        yield done


def enable(engine: Engine, sink: str) -> bool:
    """Let a sink be sent to again; returns whether it was disabled, or held by its own wish."""
    with engine.begin() as connection:
        if not connection.execute(_ENABLE, {"sink": sink}).rowcount:
            return False
        connection.execute(_BEGIN_ANEW, {"sink": sink})
        return True
