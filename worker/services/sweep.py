"""Wakes the relay for due messages that nobody delivers: a lost wake-up, a retry."""

from __future__ import annotations

from collections.abc import Sequence

from worker.domain.deliveries import Route
from worker.services.outbox import OutboxSweep
from worker.services.publisher import Publisher
from worker.services.queues import Queues

SESSIONS_PER_RELAY = 50
# The largest number of sessions in one sweep, by sink: the backlog of a slow one fills no queue.
SESSIONS_PER_INTERNAL_SINK = 800
SESSIONS_PER_SINK = 200


class Sweep:
    """Sends nothing while the queue `events` is full."""

    def __init__(
        self, outbox: OutboxSweep, publisher: Publisher, queues: Queues, *, routes: Sequence[Route]
    ) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._queues = queues
        self._limits = {
            route.sink: SESSIONS_PER_INTERNAL_SINK if route.internal else SESSIONS_PER_SINK
            for route in routes
        }

    async def wake_relay(self) -> None:
        """Send relay tasks for the sessions with due messages.

        Raises:
            UnavailableError: the database or the broker is away.
        """
        await self._outbox.shorten_pauses()
        if self._queues.is_full("events"):
            return
        due = await self._outbox.due_sessions(self._limits)
        for start in range(0, len(due), SESSIONS_PER_RELAY):
            await self._publisher.send_relay(due[start : start + SESSIONS_PER_RELAY])
