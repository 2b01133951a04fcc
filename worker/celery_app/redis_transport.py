"""kombu's Redis transport, but for one client to each channel.

kombu 5.7 makes a redis-py client anew for every command, which costs more than the command: a tenth
of a busy worker (docs/performance.md).
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """Keeps its client; threads may share one, as each command takes a connection of the pool."""

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - kombu's
        if asynchronous:
            return super()._create_client(asynchronous=True)
        # After a lost connection the pool is another.
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()
        return self._kept


class Transport(redis.Transport):
    """What `redis` and `rediss` stand for in BROKER_URL; see worker/celery.py."""

    Channel = Channel
