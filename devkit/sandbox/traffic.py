"""Requests to Klarna's endpoints: a bounded log, counters, and waiting for changes."""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from devkit.sandbox import clock
from devkit.sandbox.exchange import Exchange
from devkit.sandbox.faults import AnyFault
from devkit.sandbox.timestamps import klarna_timestamp

DEFAULT_LOG_SIZE = 10_000


@dataclass(slots=True)
class LoggedRequest:
    """One request as it arrived, and how it ended; holds no reference to the connection."""

    number: int
    method: str
    path: str
    query: bytes
    http_version: str
    headers: list[tuple[bytes, bytes]]
    session_id: str | None
    account: str | None
    wall: float
    started: float
    in_flight: int
    finished: float | None = None
    status: int | None = None
    faults: tuple[str, ...] = ()


class Changes:
    """Lets the control API wait for a change."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def announce(self) -> None:
        """Wake all who wait."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def next(self, timeout_seconds: float) -> bool:
        """Wait for the next announcement; False if none came in time."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        done, _ = await asyncio.wait({future}, timeout=timeout_seconds)
        self._waiting.discard(future)
        return bool(done)


class Traffic:
    """The request log (newest `log_size` requests; 0 switches it off) and the counters."""

    def __init__(self, log_size: int = DEFAULT_LOG_SIZE) -> None:
        self.log_size = log_size
        self.changes = Changes()
        self.requests = 0
        self.max_in_flight = 0
        self._open: dict[int, LoggedRequest | None] = {}
        self._log: deque[LoggedRequest] = deque(maxlen=log_size)
        self._statuses: Counter[str] = Counter()
        self._accounts: Counter[str] = Counter()

    def clear(self) -> None:
        """Clear log and counters; open requests stay counted as in flight."""
        self._log.clear()
        self.requests = 0
        self.max_in_flight = len(self._open)
        self._statuses.clear()
        self._accounts.clear()

    def resize(self, log_size: int) -> None:
        """Keep the newest `log_size` requests from now on."""
        self.log_size = log_size
        self._log = deque(self._log, maxlen=log_size)

    def open(self, exchange: Exchange) -> None:
        """Record an arrival."""
        self.requests += 1
        in_flight = len(self._open) + 1
        self.max_in_flight = max(self.max_in_flight, in_flight)
        logged = _arrival(exchange, in_flight) if self.log_size else None
        if logged is not None:
            self._log.append(logged)
        self._open[exchange.number] = logged
        self.changes.announce()

    def note_faults(self, exchange: Exchange, faults: Sequence[AnyFault]) -> None:
        """Record the faults of a request."""
        logged = self._open[exchange.number]
        if logged is not None:
            logged.faults = tuple(fault.kind for fault in faults)

    def close(self, exchange: Exchange) -> None:
        """Record the end of a response."""
        logged = self._open.pop(exchange.number, None)
        if logged is not None:
            logged.finished = clock.monotonic()
            logged.status = exchange.status
        self._statuses[str(exchange.status or "none")] += 1
        self._accounts[exchange.account.name if exchange.account else "unknown"] += 1
        self.changes.announce()

    def counters(self) -> dict[str, Any]:
        """Return counts of requests by status ("none": no response) and by account ("unknown")."""
        return {
            "requests": self.requests,
            "in_flight": len(self._open),
            "max_in_flight": self.max_in_flight,
            "by_status": dict(self._statuses),
            "by_account": dict(self._accounts),
        }

    def listing(self, *, session_id: str | None = None, account: str | None = None) -> list[Any]:
        """Return the logged requests, oldest first, narrowed to what is given."""
        return [_entry(logged) for logged in self.matching(session_id=session_id, account=account)]

    def matching(
        self, *, session_id: str | None = None, account: str | None = None
    ) -> list[LoggedRequest]:
        """Return the log, oldest first, narrowed to what is given."""
        return [
            logged
            for logged in self._log
            if session_id in {None, logged.session_id} and account in {None, logged.account}
        ]


def _arrival(exchange: Exchange, in_flight: int) -> LoggedRequest:
    return LoggedRequest(
        number=exchange.number,
        method=exchange.method,
        path=exchange.path,
        query=exchange.scope["query_string"],
        http_version=exchange.scope["http_version"],
        headers=exchange.scope["headers"],
        session_id=exchange.session_id or None,
        account=exchange.account.name if exchange.account else None,
        wall=clock.wall(),
        started=exchange.started,
        in_flight=in_flight,
    )


def _entry(logged: LoggedRequest) -> dict[str, Any]:
    pairs = [[n.decode("latin-1"), value.decode("latin-1")] for n, value in logged.headers]
    return {
        "number": logged.number,
        "method": logged.method,
        "path": logged.path,
        "query": logged.query.decode("latin-1"),
        "http_version": logged.http_version,
        "headers": pairs,
        "session_id": logged.session_id,
        "account": logged.account,
        "at": klarna_timestamp(logged.wall),
        "wall_seconds": logged.wall,
        "started_monotonic": logged.started,
        "finished_monotonic": logged.finished,
        "in_flight": logged.in_flight,
        "status": logged.status,
        "faults": list(logged.faults),
    }
