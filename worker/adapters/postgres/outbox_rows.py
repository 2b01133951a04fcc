"""Writes events into the outbox, in the transaction of whatever caused them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from worker.adapters.postgres import tables
from worker.adapters.postgres.shop_objects import sinks_that_know
from worker.domain.deliveries import Route
from worker.domain.events import Event


async def insert_messages(
    connection: AsyncConnection, events: Sequence[Event], routes: Sequence[Route]
) -> None:
    """Insert one message per event, and one delivery for each sink that takes events of its type.

    Whether a sink takes it is decided here, once: later changes of the settings change nothing.
    """
    if not events:
        return
    await connection.execute(
        tables.outbox_messages.insert(),
        [
            _key(event) | {"event_type": str(event.type), "payload": event.envelope()}
            for event in events
        ],
    )
    told = [(event, route) for event in events for route in routes if route.takes(event.type)]
    asked = {event.session_id for event, route in told if route.own_only}
    known = await sinks_that_know(connection, asked) if asked else {}
    deliveries = [
        _key(event) | {"sink": route.sink}
        for event, route in told
        if not route.own_only or route.sink in known[event.session_id]
    ]
    if deliveries:
        await connection.execute(tables.outbox_deliveries.insert(), deliveries)


def _key(event: Event) -> dict[str, object]:
    return {
        "event_id": event.event_id,
        "session_id": event.session_id,
        "sequence": event.sequence,
    }
