"""A shop's consumer of the event stream, which remembers its position and every event."""

from __future__ import annotations

import json
from typing import Any

import redis

Event = dict[str, Any]


class ShopConsumer:
    """Reads on request; keeps what it read, even if the stream is lost."""

    def __init__(self, redis_url: str, *, stream: str = "payment-session-events") -> None:
        self._redis_url = redis_url
        self._stream = stream
        self._position = "0"
        self._arrived: list[Event] = []

    def read(self) -> list[Event]:
        """Read new events; return all events so far, repeats included."""
        with redis.Redis.from_url(self._redis_url) as client:
            for _, entries in client.xread({self._stream: self._position}):
                for position, entry in entries:
                    self._position = position
                    self._arrived.append(json.loads(entry[b"event"]))
        return list(self._arrived)

    def once(self) -> list[Event]:
        """Return all events so far, each event id once."""
        return list({event["id"]: event for event in self.read()}.values())
