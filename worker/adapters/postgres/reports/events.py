"""Events with their deliveries, by filter or by id.

Read-only, and never the authorization token.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from worker.adapters.postgres.conditions import older_pending, pending
from worker.adapters.postgres.literals import literal
from worker.adapters.postgres.reports.sessions import Reports, Row

STATES = ("pending", "delivered", "dead")
_PENDING, _DELIVERED, _DEAD = map(literal, STATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries to list or replay; a field that is None matches everything.

    `until` is exclusive; `state` is one of `STATES`.
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


# Null for a message without a delivery.
_STATE = f"""
    CASE
        WHEN d.delivered_at IS NOT NULL THEN {_DELIVERED}
        WHEN d.dead_at IS NOT NULL THEN {_DEAD}
        WHEN d.sink IS NOT NULL THEN {_PENDING}
    END
"""
# On `m`, a message, and `d`, its delivery.
MATCHES = f"""
    (CAST(:event_id AS uuid) IS NULL OR m.event_id = CAST(:event_id AS uuid))
    AND (CAST(:session_id AS text) IS NULL OR m.session_id = CAST(:session_id AS text))
    AND (CAST(:event_type AS text) IS NULL OR m.event_type = CAST(:event_type AS text))
    AND (CAST(:since AS timestamptz) IS NULL OR m.created_at >= CAST(:since AS timestamptz))
    AND (CAST(:until AS timestamptz) IS NULL OR m.created_at < CAST(:until AS timestamptz))
    AND (CAST(:sink AS text) IS NULL OR d.sink = CAST(:sink AS text))
    AND (CAST(:state AS text) IS NULL OR {_STATE} = CAST(:state AS text))
"""
_DELIVERY = f"""
    d.sink, {_STATE} AS state, d.attempts, d.next_attempt_at, d.delivered_at, d.dead_at,
    d.last_error,
    CASE WHEN {pending("d")} THEN (
        SELECT older.event_id {older_pending("d")}
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
_EVENT = text("""
    SELECT event_id, session_id, sequence, event_type, created_at, payload
    FROM outbox_messages WHERE event_id = :event_id
""")
_DELIVERIES = text(f"""
    SELECT {_DELIVERY}, d.due_since
    FROM outbox_deliveries AS d WHERE d.event_id = :event_id ORDER BY d.sink
""")  # noqa: S608 - constants of this module


class EventReports(Reports):
    """Reports of events; a context manager."""

    def deliveries(self, wanted: DeliveryFilter, *, limit: int) -> list[Row]:
        """Return the newest events that match: a row for each delivery, or one without delivery."""
        return self._rows(_LIST, **wanted.values(), limit=limit)

    def event(self, event_id: UUID) -> Row | None:
        """Return one event with its envelope as `payload` and its `deliveries`, or None."""
        found = self._rows(_EVENT, event_id=event_id)
        if not found:
            return None
        return found[0] | {"deliveries": self._rows(_DELIVERIES, event_id=event_id)}
