"""Events into a Redis Stream, trimmed by age, with a mark in it that is lost when it is lost."""

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

_MARK = "generation:"
# Entries stay so many seconds longer than they must: asking with each would be a round trip more.
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
        """The milliseconds of the oldest entry to keep, by the server's clock of not long ago."""
        if self._monotonic() - self._asked_at > ASK_TIME_EVERY:
            seconds, _ = await self._redis.time()
            self._oldest_kept = max(int((seconds - self.retention.total_seconds()) * 1000), 0)
            self._asked_at = self._monotonic()
        return self._oldest_kept

    async def epoch(self) -> str | None:
        """Return the mark on the stream, None where there is none.

        The mark is a consumer group that nobody reads by: it lives in the stream's own key, so it
        goes with it whatever takes it, and no consumer that makes the key anew brings it back.
        """
        marks = await self._marks()
        return marks[0].removeprefix(_MARK) if marks else None

    async def set_epoch(self, epoch: str) -> None:
        """Put the mark on the stream instead of any other; make the stream where there is none."""
        try:
            for mark in await self._marks():
                await self._redis.xgroup_destroy(self.stream, mark)
            await self._redis.xgroup_create(self.stream, f"{_MARK}{epoch}", mkstream=True)
        except (RedisError, OSError) as error:
            raise UnavailableError(f"redis: {type(error).__name__}") from None

    async def _marks(self) -> list[str]:
        try:
            groups = await self._redis.xinfo_groups(self.stream)
        except (RedisError, OSError) as error:
            if isinstance(error, ResponseError) and "no such key" in str(error):
                return []
            raise UnavailableError(f"redis: {type(error).__name__}") from None
        names = [group["name"].decode() for group in groups]
        return [name for name in names if name.startswith(_MARK)]
