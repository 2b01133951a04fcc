"""Connections to Redis on which "not now" is a lost connection.

Celery reconnects after a lost connection, and then may find another server at the address. An error
reply ends the worker ("Unrecoverable error"), and so would each failover.
"""

from __future__ import annotations

from typing import Any

import redis
from redis import exceptions

# Refusals that do not depend on the command: another moment, or another server, takes it.
_REFUSALS = (
    exceptions.ReadOnlyError,  # READONLY: it is a replica
    exceptions.ClusterDownError,  # CLUSTERDOWN; MASTERDOWN: a replica without its primary
    exceptions.TryAgainError,  # TRYAGAIN
    exceptions.OutOfMemoryError,  # OOM: its memory is full
    exceptions.NoPermissionError,  # NOPERM: the user's rights were changed
)
# redis-py has no class for these: the reply begins with the code.
_REFUSAL_CODES = frozenset(
    {
        "UNBLOCKED",  # it became a replica, or CLIENT UNBLOCK ended the wait
        "NOREPLICAS",  # too few replicas to take a write
        "MISCONF",  # it cannot write to its disk
        "BUSY",  # it runs a script
    }
)


def is_refusal(error: redis.ResponseError) -> bool:
    """Return whether the reply is about the server's state, not about the command."""
    return isinstance(error, _REFUSALS) or str(error).partition(" ")[0] in _REFUSAL_CODES


class Connection(redis.Connection):
    """For `redis` URLs."""

    def read_response(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - redis-py's
        """Return the reply; a refusal closes the connection.

        Raises:
            redis.ConnectionError: the server refuses.
        """
        try:
            return super().read_response(*args, **options)
        except redis.ResponseError as error:
            if not is_refusal(error):
                raise
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's
            raise redis.ConnectionError(str(error)) from error


class SSLConnection(Connection, redis.SSLConnection):
    """For `rediss` URLs."""
