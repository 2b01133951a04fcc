"""The shop's end: a consumer of the event stream that keeps its place and counts each id once."""

from __future__ import annotations

import json
from typing import Any

import redis

Event = dict[str, Any]


class ShopConsumer:
    """Reads on when asked; what it once read it has, whatever becomes of the stream."""

    def __init__(self, redis_url: str, *, stream: str = "payment-session-events") -> None:
        self._redis_url = redis_url
        self._stream = stream
        self._place = "0"
        self._arrived: list[Event] = []

    def read(self) -> list[Event]:
        """Take what came since the last time; returns everything ever taken, repeats included."""
        with redis.Redis.from_url(self._redis_url) as client:
            for _, entries in client.xread({self._stream: self._place}):
                for place, entry in entries:
                    self._place = place
                    self._arrived.append(json.loads(entry[b"event"]))
        return list(self._arrived)

    def once(self) -> list[Event]:
        """Everything ever taken, each event id once: what the shop acts on."""
        return list({event["id"]: event for event in self.read()}.values())
