"""Appends events to a Redis stream, trimmed by age, with an epoch that shows if it was lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from redis.typing import EncodableT, FieldT

from worker.domain.deliveries import INTERNAL
from worker.services.errors import DeliveryError, UnavailableError

_EPOCH = "generation:"
# How often the server's time is read for trimming. Entries may stay this much longer.
ASK_TIME_EVERY = 60.0


class RedisStreamSink:
    """Implements the port `StreamSink`."""

    name = "redis_stream"
    schedule = INTERNAL
    in_flight = None

    def __init__(
        self, redis: Redis, *, stream: str, retention: timedelta, monotonic: Callable[[], float]
    ) -> None:
        self._redis = redis
        self._monotonic = monotonic
        self.stream = stream
        self.retention = retention
        self._oldest_kept = 0
        self._asked_at = float("-inf")

    async def deliver(self, envelope: dict[str, Any]) -> None:
        """Append one entry: `id`, `type`, `subject` and the CloudEvent as `event`."""
        entry: dict[FieldT, EncodableT] = {
            "id": envelope["id"],
            "type": envelope["type"],
            "subject": envelope["subject"],
            "event": json.dumps(envelope, separators=(",", ":")),
        }
        try:
            oldest = await self._oldest()
            await self._redis.xadd(self.stream, entry, minid=oldest, approximate=True)
        except (RedisError, OSError) as error:
            raise DeliveryError(f"redis: {type(error).__name__}") from None

    async def _oldest(self) -> int:
        """Return the id of the oldest entry to keep, in milliseconds by the server's clock."""
        if self._monotonic() - self._asked_at > ASK_TIME_EVERY:
            seconds, _ = await self._redis.time()
            self._oldest_kept = max(int((seconds - self.retention.total_seconds()) * 1000), 0)
            self._asked_at = self._monotonic()
        return self._oldest_kept

    async def epoch(self) -> str | None:
        """Return the stream's epoch, or None.

        It is the name of a consumer group that nobody reads from. It is stored in the stream's key,
        so it is lost with the stream, and a consumer that creates the stream again has none.
        """
        epochs = await self._epochs()
        return epochs[0].removeprefix(_EPOCH) if epochs else None

    async def set_epoch(self, epoch: str) -> None:
        """Replace the stream's epoch; creates the stream if it does not exist."""
        try:
            for old in await self._epochs():
                await self._redis.xgroup_destroy(self.stream, old)
            await self._redis.xgroup_create(self.stream, f"{_EPOCH}{epoch}", mkstream=True)
        except (RedisError, OSError) as error:
            raise UnavailableError(f"redis: {type(error).__name__}") from None

    async def _epochs(self) -> list[str]:
        try:
            groups = await self._redis.xinfo_groups(self.stream)
        except (RedisError, OSError) as error:
            if isinstance(error, ResponseError) and "no such key" in str(error):
                return []
            raise UnavailableError(f"redis: {type(error).__name__}") from None
        names = [group["name"].decode() for group in groups]
        return [name for name in names if name.startswith(_EPOCH)]
