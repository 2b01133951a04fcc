"""kombu's Redis transport with one client for each channel.

kombu 5.7 makes a new redis-py client for every command. That costs more than the command: a tenth
of a busy worker's time (docs/performance.md).
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """Keeps its client. Threads may share it: each command takes a connection from the pool.

    `_create_client` is not public, but kombu has no other place to keep a client;
    tests/unit/celery_app/test_private_seams.py says which versions it was read in.
    """

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - kombu's
        if asynchronous:
            return super()._create_client(asynchronous=True)
        # After a lost connection kombu makes a new pool.
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()
        return self._kept


class Transport(redis.Transport):
    """The transport of `redis` and `rediss` URLs; worker/celery.py registers it."""

    Channel = Channel
