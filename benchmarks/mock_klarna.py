"""Klarna for load: a fixed answer after a fixed delay, and when each request came.

It knows no faults and checks nothing; `devkit/sandbox` does. `benchmarks.environment` runs it.
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
# Sessions of this prefix have ended well; all others wait.
COMPLETED = "completed-"


class StandIn:
    """What is answered, and what came; times are seconds since the epoch."""

    def __init__(self, delay: float, updated_at: str, expires_at: str) -> None:
        self._delay = delay
        self._waiting = {"status": "WAITING", "updated_at": updated_at, "expires_at": expires_at}
        self._arrivals: list[tuple[str, float]] = []

    def answer(self, path: str, headers: bytes) -> tuple[float, bytes]:
        """Return after how many seconds to send which body."""
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

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self._received = b""
        self._transport: Transport | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Keep it."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Return once the request is whole."""
        self._received += data
        head, end, body = self._received.partition(END)
        if not end or len(body) < int(_header(head, b"content-length") or 0):
            return
        self._received = b""
        path = head.split(b" ", 2)[1].decode()
        delay, answer = self._stand_in.answer(path, head)
        asyncio.get_running_loop().call_later(delay, self._send, answer)

    def _send(self, body: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - told to the type checker
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d"
        self._transport.write(head % len(body) + END + body)


def _header(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip().decode()
    return ""


async def _serve(stand_in: StandIn) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(stand_in), "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Print where it listens, then serve."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--delay", type=float, required=True, help="seconds")
    parser.add_argument("--updated-at", required=True)
    parser.add_argument("--expires-at", required=True)
    chosen = parser.parse_args()
    asyncio.run(_serve(StandIn(chosen.delay, chosen.updated_at, chosen.expires_at)))


if __name__ == "__main__":
    main()
