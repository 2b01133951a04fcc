"""The ports to the outbox: delivering messages, finding due ones, recovering a lost stream."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from worker.domain.deliveries import RetryDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One outbox message claimed for one sink; `attempts` counts this try and is its lease."""

    event_id: UUID
    sink: str
    session_id: str
    attempts: int
    # How long it has been tried, by the database's clock.
    age: timedelta
    envelope: dict[str, Any]
    encrypted_token: bytes | None = field(default=None, repr=False)
    # How long the session's token is valid that this sink has not got yet; None without one.
    token_left: timedelta | None = None
    trace_parent: str | None = None


class OutboxDeliveries(Protocol):
    """Claiming messages for their sinks and recording the result. All raise UnavailableError."""

    async def claim(
        self,
        session_ids: Collection[str],
        sinks: Collection[str],
        *,
        lease: timedelta,
        limit: int | None = None,
    ) -> list[Delivery]:
        """Claim each session's oldest undelivered message per sink, if it is due.

        At most `limit`. Nothing for a sink that is disabled or paused.
        """

    async def mark_delivered(self, delivery: Delivery) -> bool:
        """Record the delivery; returns whether its session has more for that sink."""

    async def mark_failed(self, delivery: Delivery, *, error: str, decision: RetryDecision) -> None:
        """Record the error and the decision, for the delivery and for its sink."""


class OutboxSweep(Protocol):
    """Finding messages that nobody delivers. Raises UnavailableError."""

    async def shorten_pauses(self) -> None:
        """Let no pause that a sink asked for delay an authorization by more than a minute."""

    async def due_sessions(self, limits: Mapping[str, int]) -> list[str]:
        """Return payment sessions whose oldest undelivered message is due.

        `limits` has the largest number of sessions by sink.
        """


class OutboxRecovery(Protocol):
    """Redelivering the events of a lost stream. All methods raise UnavailableError."""

    async def epoch(self, stream: str) -> str | None:
        """Return the epoch that was last written to the stream."""

    async def renew_epoch(
        self, stream: str, sink: str, *, old: str | None, new: str, since: timedelta
    ) -> bool:
        """Change the epoch from `old` to `new`; deliveries of the last `since` are to be repeated.

        Returns whether this call did it: another process may have been first.
        """

    async def redeliver(self, stream: str, sink: str, *, limit: int) -> int:
        """Make some of the deliveries to repeat due; returns how many, 0 when none is left."""
