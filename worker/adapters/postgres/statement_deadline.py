"""Ends statements that a hanging server neither answers nor cancels, for blocking engines.

The server enforces `statement_timeout` only while it runs, so this goes by the client's clock.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

_WATCH = "statement_watch"


def end_hanging_statements(engine: Engine, *, seconds: float) -> None:
    """Break the connection of a statement that has no answer after `seconds`.

    The statement then fails like one of a lost connection, which leaves the pool.
    """

    def start(connection: Connection, *_: Any) -> None:  # noqa: ANN401 - SQLAlchemy's signature
        driver = connection.connection.dbapi_connection
        if driver is not None:
            connection.info[_WATCH] = _Watch(driver.fileno(), seconds)

    def stop(connection: Connection, *_: Any) -> None:  # noqa: ANN401 - SQLAlchemy's signature
        watch: _Watch | None = connection.info.pop(_WATCH, None)
        if watch is not None:
            watch.stop()

    def stop_after_error(context: ExceptionContext) -> None:
        if context.connection is not None and not context.connection.invalidated:
            stop(context.connection)

    event.listen(engine, "before_cursor_execute", start)
    event.listen(engine, "after_cursor_execute", stop)
    event.listen(engine, "handle_error", stop_after_error)


class _Watch:
    """Breaks one connection after a time, unless it is stopped before."""

    def __init__(self, descriptor: int, seconds: float) -> None:
        # A descriptor of its own: the driver may close its one at any time.
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._break)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._socket.close()

    def _break(self) -> None:
        # Fails where it has been stopped or cut off meanwhile.
        with self._lock, suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
