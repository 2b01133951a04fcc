"""Writes events into the outbox, in the transaction of the change that caused them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.adapters.postgres.recordset import as_json, recordset
from worker.domain.deliveries import Route
from worker.domain.events import Event

_MESSAGE = {
    "event_id": "uuid",
    "session_id": "text",
    "sequence": "integer",
    "event_type": "text",
    "payload": "jsonb",
}
_DELIVERY = {
    "event_id": "uuid",
    "session_id": "text",
    "sequence": "integer",
    "sink": "text",
    "requires_mapping": "boolean",
}
# For the sessions in `recorded`, with the `shop_objects` that are stored now: the shop may have
# added some while the session was read.
WRITE_MESSAGES = f"""
    written AS (
        INSERT INTO outbox_messages ({", ".join(_MESSAGE)})
        SELECT v.* FROM {recordset("messages", _MESSAGE)} JOIN recorded USING (session_id)
    ),
    routed AS (
        INSERT INTO outbox_deliveries (event_id, session_id, sequence, sink)
        SELECT v.event_id, v.session_id, v.sequence, v.sink
        FROM {recordset("deliveries", _DELIVERY)} JOIN recorded USING (session_id)
        WHERE NOT v.requires_mapping OR recorded.shop_objects ? v.sink
    )
"""  # noqa: S608 - constants of this module

_INSERT = text(f"""
    WITH recorded AS (
        SELECT session_id, shop_objects FROM payment_sessions
        WHERE session_id = ANY(CAST(:session_ids AS text[]))
    ),
    {WRITE_MESSAGES}
    SELECT
""")  # noqa: S608 - constants of this module


def message_rows(events: Sequence[Event], routes: Sequence[Route]) -> dict[str, str]:
    """Return the parameters of WRITE_MESSAGES: the events' messages and their deliveries.

    The sinks of an event are decided here; a later change of the settings does not affect it.
    """
    messages = [
        _key(event) | {"event_type": str(event.type), "payload": event.envelope()}
        for event in events
    ]
    deliveries = [
        _key(event) | {"sink": route.sink, "requires_mapping": route.requires_mapping}
        for event in events
        for route in routes
        if route.takes(event.type)
    ]
    return {
        "messages": as_json(_MESSAGE, messages),
        "deliveries": as_json(_DELIVERY, deliveries),
    }


async def insert_messages(
    connection: AsyncConnection, events: Sequence[Event], routes: Sequence[Route]
) -> None:
    """Insert one message per event, and one delivery for each sink that takes events of its type.

    The caller has locked the rows of their sessions.
    """
    if events:
        session_ids = [event.session_id for event in events]
        await connection.execute(
            _INSERT, {"session_ids": session_ids} | message_rows(events, routes)
        )


def _key(event: Event) -> dict[str, object]:
    return {
        "event_id": event.event_id,
        "session_id": event.session_id,
        "sequence": event.sequence,
    }
