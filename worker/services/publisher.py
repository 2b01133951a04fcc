"""The port to the broker: task messages to the workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from worker.services.sessions import PollTask


class Publisher(Protocol):
    """Task messages to the workers. All methods raise UnavailableError."""

    async def send_polls(self, tasks: Sequence[PollTask]) -> None:
        """Send one poll task per entry, in one batch."""

    async def send_relay(self, session_ids: Sequence[str]) -> None:
        """Send one relay task for the events of these payment sessions."""

    async def waiting(self) -> dict[str, int]:
        """Return how many messages wait in the queues `tracks`, `polls` and `events`."""
