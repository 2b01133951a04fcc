"""kombu's Redis transport: no message ends a worker, and no reply of Redis that says "not now".

And one client for each channel: kombu 5.7 makes a new redis-py client for every command. That costs
more than the command: a tenth of a busy worker's time (docs/performance.md).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from celery.utils.dispatch import Signal
from kombu.transport import redis
from redis import RedisError
from redis.client import PubSub

from worker.celery_app.redis_connection import Connection, SSLConnection
from worker.celery_app.redis_messages import DecodeBody, UnreadableMessageError, check, completed

# Sent for each message that is dropped; a worker logs and counts them.
message_unreadable = Signal(name="message_unreadable")

# Nobody writes it: it is deleted to learn whether this server takes writes.
PROBE_KEY = "payment-sessions:probe"
# Routing key, pattern, queue.
_BINDING_PARTS = 3
_PUBLISHED = (b"message", b"pmessage")


class Channel(redis.Channel):
    """Keeps its client. Threads may share it: each command takes a connection from the pool.

    `_create_client` is not public, but kombu has no other place to keep a client;
    tests/unit/celery_app/test_private_seams.py says which versions it was read in.
    """

    connection_class = Connection
    connection_class_ssl = SSLConnection

    _kept: Any = None

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - kombu's
        super().__init__(*args, **options)
        # A replica answers kombu's PING. Celery waits longer after each failure to connect, but not
        # after a connection that is lost at its first command.
        try:
            self.client.delete(PROBE_KEY)
        except RedisError:
            self.close()
            raise

    @cached_property
    def subclient(self) -> PubSub:
        """The connection that broadcasts come in by."""
        return _Broadcasts(self._create_client(asynchronous=True).connection_pool, self.decode_body)

    def get_table(self, exchange: str) -> list[tuple[str, ...]]:
        """Return the exchange's bindings, without those that a shop with another `sep` wrote."""
        return [row for row in super().get_table(exchange) if len(row) == _BINDING_PARTS]

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - kombu's
        if asynchronous:
            client = super()._create_client(asynchronous=True)
            client.set_response_callback("BRPOP", self._taken)
            return client
        # After a lost connection kombu makes a new pool.
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()
        return self._kept

    def _taken(self, reply: list[bytes] | None, **_: object) -> tuple[bytes, bytes] | None:
        """Return BRPOP's reply; None, as after its timeout, where the message is dropped."""
        if not reply:
            return None
        key, item = reply
        queue = key.decode().rsplit(self.sep, 1)[0]
        try:
            return key, completed(item, queue, self.decode_body)
        except UnreadableMessageError as error:
            message_unreadable.send(sender=self, queue=queue, reason=str(error))
            return None


class _Broadcasts(PubSub):
    """What other processes publish, such as `celery control`."""

    def __init__(self, pool: Any, decode_body: DecodeBody) -> None:  # noqa: ANN401 - redis-py's
        super().__init__(pool)
        self._decode_body = decode_body

    def parse_response(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - redis-py's
        """Return the next reply; None where it is a message that is dropped."""
        reply = super().parse_response(*args, **options)  # type: ignore[no-untyped-call]
        if not isinstance(reply, list) or reply[0] not in _PUBLISHED:
            return reply
        *_, channel, item = reply
        try:
            check(item, self._decode_body)
        except UnreadableMessageError as error:
            queue = channel.decode(errors="replace")
            message_unreadable.send(sender=self, queue=queue, reason=str(error))
            return None
        return reply


class Transport(redis.Transport):
    """The transport of `redis` and `rediss` URLs; worker/celery.py registers it."""

    Channel = Channel
