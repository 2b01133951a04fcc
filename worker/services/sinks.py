"""The ports to sinks: where events are delivered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol

from worker.domain.deliveries import RetrySchedule


class Sink(Protocol):
    """One place that events are delivered to."""

    @property
    def name(self) -> str:
        """The name that its deliveries are stored under."""

    @property
    def schedule(self) -> RetrySchedule:
        """How failed deliveries are retried."""

    @property
    def in_flight(self) -> int | None:
        """How many background deliveries one process may have under way to this sink.

        None for an internal sink: it is quick, and a relay task waits for it.
        """

    async def deliver(self, envelope: dict[str, Any]) -> None:
        """Deliver the CloudEvent, at least once.

        Raises:
            DeliveryError: the sink did not take it.
        """


class StreamSink(Sink, Protocol):
    """A sink that stores events itself and may lose them with its server.

    The stream carries the id of its epoch. A stream without it, or with another, was lost.
    """

    stream: str
    retention: timedelta

    async def epoch(self) -> str | None:
        """Return the epoch on the stream; None where the stream or its epoch is gone."""

    async def set_epoch(self, epoch: str) -> None:
        """Write the epoch to the stream."""
