"""A mock Klarna server for load: a fixed response after a fixed delay; records arrivals.

It has no faults and checks nothing (`devkit/sandbox` does). `benchmarks.environment` runs it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from asyncio import Protocol, Transport

from worker.adapters import clock

END = b"\r\n\r\n"
ARRIVALS = "/-/arrivals"
HOOK = "/-/hook"
# Sessions with this prefix are completed; all others wait.
COMPLETED = "completed-"


class MockKlarna:
    """The responses and the arrivals; times are seconds since the epoch."""

    def __init__(self, delay: float, updated_at: str, expires_at: str) -> None:
        self._delay = delay
        self._waiting = {"status": "WAITING", "updated_at": updated_at, "expires_at": expires_at}
        self._arrivals: list[tuple[str, float]] = []

    def respond(self, path: str, headers: bytes) -> tuple[float, bytes]:
        """Return the delay in seconds, and the body."""
        if path == ARRIVALS:
            arrivals, self._arrivals = self._arrivals, []
            return 0.0, json.dumps(arrivals).encode()
        now = clock.now()
        if path == HOOK:
            self._arrivals.append((_header(headers, b"webhook-id"), now.timestamp()))
            return 0.0, b"{}"
        session_id = path.rpartition("/")[2]
        self._arrivals.append((session_id, now.timestamp()))
        body = self._waiting | {"session_id": session_id}
        if session_id.startswith(COMPLETED):
            ended = {"status": "COMPLETED", "authorization_token": "made-up-for-the-benchmark"}
            body |= ended | {"updated_at": now.isoformat()}
        return self._delay, json.dumps(body).encode()


class Connection(Protocol):
    """One keep-alive connection; requests come one after the other."""

    def __init__(self, mock: MockKlarna) -> None:
        self._mock = mock
        self._received = b""
        self._transport: Transport | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Respond once the request is complete."""
        self._received += data
        head, end, sent = self._received.partition(END)
        if not end or len(sent) < int(_header(head, b"content-length") or 0):
            return
        self._received = b""
        path = head.split(b" ", 2)[1].decode()
        delay, body = self._mock.respond(path, head)
        asyncio.get_running_loop().call_later(delay, self._send, body)

    def _send(self, body: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - for the type checker
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d"
        self._transport.write(head % len(body) + END + body)


def _header(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip().decode()
    return ""


async def _serve(mock: MockKlarna) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(mock), "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Print the origin, then serve."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--delay", type=float, required=True, help="seconds")
    parser.add_argument("--updated-at", required=True)
    parser.add_argument("--expires-at", required=True)
    chosen = parser.parse_args()
    asyncio.run(_serve(MockKlarna(chosen.delay, chosen.updated_at, chosen.expires_at)))


if __name__ == "__main__":
    main()
