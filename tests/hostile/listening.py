"""Servers on loopback ports that keep every byte they receive and respond as a test says."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

# Responds on a connection whose request was read; the connection is closed after it.
Saying = Callable[[socket.socket], None]
_PIECE = 65_536
_PROBE = b"are you there?\r\n\r\n"


def say(answer: bytes) -> Saying:
    """Send these bytes, then close."""
    return lambda connection: connection.sendall(answer)


def answer(body: bytes, *headers: str, code: int = 200) -> bytes:
    """Send a valid response with these bytes as its body."""
    head = [f"HTTP/1.1 {code} Some Reason", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Listener:
    """Listens while the context is open; `requests` holds what each connection was sent."""

    def __init__(self, saying: Saying, *, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.server = socket.create_server((host, port), family=family, backlog=256)
        self._connections: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, name="listener", daemon=True)
        self._closed = False
        self.host = f"[{host}]" if ":" in host else host
        self.port: int = self.server.getsockname()[1]
        self.saying = saying
        self.requests: list[bytearray] = []

    @property
    def origin(self) -> str:
        """The origin."""
        return f"http://{self.host}:{self.port}"

    def heard(self) -> list[bytes]:
        """Return what was sent on each connection since the last call, empty ones included.

        Connections are taken in their order: an answered probe means that none is still waiting.
        """
        with socket.create_connection(self.server.getsockname()[:2]) as probe:
            probe.sendall(_PROBE)
            while probe.recv(_PIECE):
                pass
        requests, self.requests = self.requests, []
        return [bytes(request) for request in requests if request != _PROBE]

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        # A connection of its own ends the wait for another.
        with contextlib.suppress(OSError), socket.create_connection(self.server.getsockname()[:2]):
            pass
        self._accepting.join(10)
        self.server.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            connection, _ = self.server.accept()
            if self._closed:
                connection.close()
                return
            self._connections.add(connection)
            request = bytearray()
            self.requests.append(request)
            threading.Thread(target=self._converse, args=[connection, request], daemon=True).start()

    def _converse(self, connection: socket.socket, request: bytearray) -> None:
        """Ignore closed connections."""
        with contextlib.suppress(OSError), connection:
            while b"\r\n\r\n" not in request and (piece := connection.recv(_PIECE)):
                request += piece
            if request != _PROBE:
                self.saying(connection)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(_PIECE):
                request += piece
        self._connections.discard(connection)
