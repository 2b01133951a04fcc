"""Messages of the broker's queues, consumed as a worker does."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kombu import Connection

POLLS = "payment-sessions-polls"
EVENTS = "payment-sessions-events"


def taken(redis_url: str, queue: str) -> list[Any]:
    """Every message of a queue, acknowledged."""
    with Connection(redis_url) as connection:
        waiting = connection.SimpleQueue(queue)
        messages = []
        while True:
            try:
                messages.append(waiting.get(block=False))
            except waiting.Empty:
                return messages
            messages[-1].ack()


def polls(redis_url: str) -> list[tuple[list[str], UUID]]:
    """The poll tasks that were sent: session ids and lease."""
    tasks = [message.payload[0] for message in taken(redis_url, POLLS)]
    return [(session_ids, UUID(lease_id)) for session_ids, lease_id in tasks]


def polled_ids(redis_url: str) -> list[str]:
    """The ids of the sessions that poll tasks were sent for."""
    return sorted(session_id for session_ids, _ in polls(redis_url) for session_id in session_ids)


def relays(redis_url: str) -> list[list[str]]:
    """The relay tasks that were sent: session ids."""
    return [message.payload[0][0] for message in taken(redis_url, EVENTS)]
