"""What people ask of the outbox: events with their deliveries, by filter or by id.

Read-only, and never the authorization token.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from worker.adapters.postgres.reports.sessions import Reports, Row

# What a delivery says that a person gave up.
DISCARDED = "discarded by hand"
STATES = ("pending", "delivered", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries are meant; what is None says nothing. `until` itself is not included.

    `state` is one of `STATES`.
    """

    event_id: UUID | None = None
    session_id: str | None = None
    event_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    sink: str | None = None
    state: str | None = None

    def values(self) -> dict[str, Any]:
        """Return the parameters of `MATCHES`."""
        return asdict(self)


_STATE = """
    CASE
        WHEN d.delivered_at IS NOT NULL THEN 'delivered'
        WHEN d.dead_at IS NOT NULL THEN 'dead'
        WHEN d.sink IS NOT NULL THEN 'pending'
    END
"""
# Of `m`, a message, and `d`, a delivery of it.
MATCHES = f"""
    (CAST(:event_id AS uuid) IS NULL OR m.event_id = CAST(:event_id AS uuid))
    AND (CAST(:session_id AS text) IS NULL OR m.session_id = CAST(:session_id AS text))
    AND (CAST(:event_type AS text) IS NULL OR m.event_type = CAST(:event_type AS text))
    AND (CAST(:since AS timestamptz) IS NULL OR m.created_at >= CAST(:since AS timestamptz))
    AND (CAST(:until AS timestamptz) IS NULL OR m.created_at < CAST(:until AS timestamptz))
    AND (CAST(:sink AS text) IS NULL OR d.sink = CAST(:sink AS text))
    AND (CAST(:state AS text) IS NULL OR {_STATE} = CAST(:state AS text))
"""
# Only the oldest pending event of a session is deliverable, per sink.
_DELIVERY = f"""
    d.sink, {_STATE} AS state, d.attempts, d.next_attempt_at, d.delivered_at, d.dead_at,
    d.last_error,
    CASE WHEN d.delivered_at IS NULL AND d.dead_at IS NULL THEN (
        SELECT older.event_id FROM outbox_deliveries AS older
        WHERE older.session_id = d.session_id AND older.sink = d.sink
            AND older.sequence < d.sequence
            AND older.delivered_at IS NULL AND older.dead_at IS NULL
        ORDER BY older.sequence
        LIMIT 1
    ) END AS waits_for,
    EXISTS (
        SELECT FROM webhook_endpoints AS e WHERE e.sink = d.sink AND e.disabled_at IS NOT NULL
    ) AS sink_disabled,
    (
        SELECT e.held_until FROM webhook_endpoints AS e
        WHERE e.sink = d.sink AND e.held_until > statement_timestamp()
    ) AS sink_held_until
"""  # noqa: S608 - constants of this module
_LIST = text(f"""
    SELECT m.event_id, m.session_id, m.sequence, m.event_type, m.created_at, {_DELIVERY}
    FROM outbox_messages AS m
    LEFT JOIN outbox_deliveries AS d USING (event_id)
    WHERE {MATCHES}
    ORDER BY m.created_at DESC, m.sequence DESC, d.sink
    LIMIT :limit
""")  # noqa: S608 - constants of this module
# The partial indexes are enough: however much was delivered, this is quick.
SINKS = text("""
    SELECT sink, COALESCE(waiting, 0) AS waiting, oldest_seconds, COALESCE(died, 0) AS died,
        disabled_at, reason
    FROM (
        SELECT d.sink, count(*) AS waiting,
            EXTRACT(epoch FROM statement_timestamp() - min(d.due_since))::float AS oldest_seconds
        FROM outbox_deliveries AS d
        WHERE d.delivered_at IS NULL AND d.dead_at IS NULL
        GROUP BY 1
    ) AS waits
    FULL JOIN (
        SELECT d.sink, count(*) AS died
        FROM outbox_deliveries AS d
        WHERE d.dead_at > statement_timestamp() - interval '1 day'
            AND d.last_error IS DISTINCT FROM :discarded
        GROUP BY 1
    ) AS dead USING (sink)
    FULL JOIN (
        SELECT sink, disabled_at, reason FROM webhook_endpoints WHERE disabled_at IS NOT NULL
    ) AS disabled USING (sink)
    ORDER BY 1
""")
_EVENT = text("""
    SELECT event_id, session_id, sequence, event_type, created_at, payload
    FROM outbox_messages WHERE event_id = :event_id
""")
_DELIVERIES = text(f"""
    SELECT {_DELIVERY}, d.due_since
    FROM outbox_deliveries AS d WHERE d.event_id = :event_id ORDER BY d.sink
""")  # noqa: S608 - constants of this module


class EventReports(Reports):
    """A context manager; every method raises sqlalchemy.exc.SQLAlchemyError where it fails."""

    def deliveries(self, wanted: DeliveryFilter, *, limit: int) -> list[Row]:
        """Return the newest events that match, a row for each delivery; one without if none."""
        return self._rows(_LIST, **wanted.values(), limit=limit)

    def sinks(self) -> list[Row]:
        """Return each sink for which something waits or `died` in the last day, or is disabled.

        `oldest_seconds` is for how long the oldest is being tried.
        """
        return self._rows(SINKS, discarded=DISCARDED)

    def event(self, event_id: UUID) -> Row | None:
        """Return one event, its envelope as `payload`, with its `deliveries`; or None."""
        found = self._rows(_EVENT, event_id=event_id)
        if not found:
            return None
        return found[0] | {"deliveries": self._rows(_DELIVERIES, event_id=event_id)}
