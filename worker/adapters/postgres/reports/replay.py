"""Changes to the outbox by hand: deliveries replayed or given up, endpoints enabled.

Blocking. Beat's next sweep finds what is due.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

from worker.adapters.postgres.conditions import SINK_UNAVAILABLE, pending
from worker.adapters.postgres.literals import literal
from worker.adapters.postgres.reports.events import MATCHES, DeliveryFilter
from worker.adapters.postgres.reports.questions import DISCARDED
from worker.domain.events import EventType

BATCH = 1000

_FROM = f"""
    FROM outbox_messages AS m
    JOIN outbox_deliveries AS d USING (event_id)
    JOIN payment_sessions AS s ON s.session_id = m.session_id
    WHERE {MATCHES}
"""
# An authorized event is complete only while its token is stored.
_IS_COMPLETE = f"""
    (m.event_type <> {literal(EventType.AUTHORIZED)} OR s.authorization_token IS NOT NULL)
"""
_IS_WANTED = f"""
    d.sink = ANY(CAST(:sinks AS text[]))
    AND (CAST(:without_token AS boolean) OR {_IS_COMPLETE})
"""
_COUNT = text(f"""
    SELECT statement_timestamp() AS counted_at,
        count(*) FILTER (WHERE {_IS_WANTED}) AS deliveries,
        count(DISTINCT d.event_id) FILTER (WHERE {_IS_WANTED}) AS events,
        count(DISTINCT d.event_id) FILTER (WHERE NOT {_IS_COMPLETE}) AS without_token,
        array_agg(DISTINCT d.sink) FILTER (WHERE d.sink <> ALL(CAST(:sinks AS text[]))) AS unknown
    {_FROM}
""")
# `attempts` is the lease of a pending delivery, so it is kept: counted from 0 again, it could equal
# that of a delivery under way, which would then mark a later claim.
_REPLAY = text(f"""
    WITH batch AS (
        SELECT d.event_id, d.sink
        {_FROM} AND {_IS_WANTED} AND d.due_since < :counted_at
        ORDER BY m.created_at, m.session_id, m.sequence
        LIMIT :limit
        FOR UPDATE OF d
    )
    UPDATE outbox_deliveries AS d
    SET attempts = CASE WHEN {pending("d")} THEN d.attempts ELSE 0 END,
        delivered_at = NULL, dead_at = NULL, last_error = NULL,
        due_since = statement_timestamp(), next_attempt_at = statement_timestamp()
    FROM batch
    WHERE d.event_id = batch.event_id AND d.sink = batch.sink
""")  # noqa: S608 - constants of this module and its neighbour
_PENDING = text(f"""
    SELECT count(*) FROM outbox_deliveries AS d WHERE d.sink = :sink AND {pending("d")}
""")  # noqa: S608 - constants of another module
_DISCARD = text(f"""
    UPDATE outbox_deliveries
    SET dead_at = clock_timestamp(), last_error = :discarded
    WHERE (event_id, sink) IN (
        SELECT d.event_id, d.sink FROM outbox_deliveries AS d
        WHERE d.sink = :sink AND {pending("d")}
        LIMIT :limit
        FOR UPDATE
    )
""")  # noqa: S608 - constants of another module
_ENABLE = text(f"""
    UPDATE webhook_endpoints SET disabled_at = NULL, reason = NULL, held_until = NULL
    WHERE sink = :sink AND {SINK_UNAVAILABLE}
""")  # noqa: S608 - constants of another module
# The give-up age counts from now on: nothing was tried while the sink was disabled.
_RESTART_CLOCK = text(f"""
    UPDATE outbox_deliveries AS d
    SET due_since = clock_timestamp(), next_attempt_at = clock_timestamp()
    WHERE d.sink = :sink AND {pending("d")}
""")  # noqa: S608 - constants of another module


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayable:
    """What a replay would send.

    `without_token` counts authorized events whose token is erased.
    """

    deliveries: int
    events: int
    without_token: int
    unknown_sinks: tuple[str, ...]
    counted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Which deliveries to replay, to the configured `sinks` only.

    Authorized events whose token is erased are left out, unless `without_token` is set.
    """

    wanted: DeliveryFilter
    sinks: Collection[str]
    without_token: bool = False

    def count(self, engine: Engine) -> Replayable:
        """Return what `send` would replay."""
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
        """Make what was counted due, with unchanged ids, in batches; yields each batch's size."""
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
    """Return how many deliveries are pending for the sink."""
    with engine.connect() as connection:
        return int(connection.execute(_PENDING, {"sink": sink}).scalar_one())


def discard(engine: Engine, sink: str) -> Iterator[int]:
    """Give up the sink's pending deliveries in batches; yields each batch's size."""
    values = {"sink": sink, "limit": BATCH, "discarded": DISCARDED}
    while True:
        with engine.begin() as connection:
            done = connection.execute(_DISCARD, values).rowcount
        if not done:
            return
        yield done


def enable(engine: Engine, sink: str) -> bool:
    """Enable deliveries to a sink; returns whether it was disabled, or paused at its request."""
    with engine.begin() as connection:
        if not connection.execute(_ENABLE, {"sink": sink}).rowcount:
            return False
        connection.execute(_RESTART_CLOCK, {"sink": sink})
        return True
