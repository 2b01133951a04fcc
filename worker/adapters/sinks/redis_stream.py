"""Events into a Redis Stream, trimmed by age, with a mark beside it that shows when it was lost."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.typing import EncodableT, FieldT

from worker.services.ports import DeliveryError, UnavailableError


class RedisStreamSink:
    """Implements the port `LossySink`."""

    name = "redis_stream"

    def __init__(self, redis: Redis, *, stream: str, retention: timedelta) -> None:
        self._redis = redis
        self.stream = stream
        self.retention = retention
        self._generation_key = f"{stream}:generation"

    async def deliver(self, envelope: dict[str, Any]) -> None:
        """Append one entry: `id`, `type`, `subject` and the CloudEvent as `event`."""
        entry: dict[FieldT, EncodableT] = {
            "id": envelope["id"],
            "type": envelope["type"],
            "subject": envelope["subject"],
            "event": json.dumps(envelope, separators=(",", ":")),
        }
        try:
            seconds, _ = await self._redis.time()
            oldest = int((seconds - self.retention.total_seconds()) * 1000)
            await self._redis.xadd(self.stream, entry, minid=max(oldest, 0), approximate=True)
        except (RedisError, OSError) as error:
            raise DeliveryError(f"redis: {type(error).__name__}") from None

    async def generation(self) -> str | None:
        """Answer the mark beside the stream, None where mark or stream is gone."""
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.get(self._generation_key)
                pipeline.exists(self.stream)
                mark, exists = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise UnavailableError(f"redis: {type(error).__name__}") from None
        return mark.decode() if mark and exists else None

    async def set_generation(self, generation: str) -> None:
        """Put the mark beside the stream, and make the stream where there is none."""
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                # A consumer group made and taken back leaves an empty stream: there, not lost.
                pipeline.set(self._generation_key, generation)
                pipeline.xgroup_create(self.stream, generation, mkstream=True)
                pipeline.xgroup_destroy(self.stream, generation)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise UnavailableError(f"redis: {type(error).__name__}") from None
