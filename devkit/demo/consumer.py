"""A shop's consumer of the event stream: a consumer group, acknowledged, deduplicated by id."""

from __future__ import annotations

import json
import threading
from typing import Any

import redis

GROUP = "shop"
CONSUMER = "demo"
BLOCK_MILLISECONDS = 200


class StreamConsumer(threading.Thread):
    """Reads until `stop`; `received` keeps every CloudEvent in order, repeats included."""

    def __init__(self, redis_url: str, stream: str) -> None:
        super().__init__(name="stream-consumer", daemon=True)
        self._redis = redis.Redis.from_url(redis_url)
        self._stream = stream
        self._stopping = threading.Event()
        self.received: list[dict[str, Any]] = []

    def run(self) -> None:
        """Process entries as a shop would: read, act, acknowledge."""
        try:
            self._redis.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
            while not self._stopping.is_set():
                self._read()
        finally:
            self._redis.close()

    def _read(self) -> None:
        read: Any = self._redis.xreadgroup(
            GROUP, CONSUMER, {self._stream: ">"}, block=BLOCK_MILLISECONDS
        )
        for _, entries in read or ():
            for entry_id, fields in entries:
                self.received.append(json.loads(fields[b"event"]))
                self._redis.xack(self._stream, GROUP, entry_id)

    def stop(self) -> None:
        """Stop reading, and wait for the thread."""
        self._stopping.set()
        self.join()
