"""A TCP proxy on loopback that breaks what passes through it, as a network or a server would."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from anyio.from_thread import BlockingPortal, start_blocking_portal

from devkit.embedded.supervision import unused_port
from tests.support.eventually import eventually

Answer = TypeVar("Answer")

_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the connection ends with a TCP RST


class Trap(Enum):
    """What happens to a connection when a text passes in it, on its way to the server."""

    FREEZE_BEFORE = "the server never sees it"
    FREEZE_AFTER = "the server sees it, and the client no answer"
    CUT = "the connection is reset, the server never sees it"


@dataclass(eq=False)
class _Link:
    """One connection: a client's half and a server's half."""

    writers: list[asyncio.StreamWriter]
    passing: asyncio.Event = field(default_factory=asyncio.Event)
    pumps: list[asyncio.Task[None]] = field(default_factory=list)

    def end(self, *, reset: bool = False) -> None:
        for writer in self.writers:
            if reset:
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, _RESET
                    )
            writer.transport.abort()
        for pump in self.pumps:
            pump.cancel()


class TcpProxy:
    """A proxy of the server of a URL; `url` is the same URL, through the proxy.

    A frozen connection is half-open: what is sent in it goes nowhere, and neither end hears that
    the other is gone, not even when one of them closes.
    """

    def __init__(self, target_url: str) -> None:
        self._target = urlsplit(target_url)
        self._port = unused_port()
        self._links: list[_Link] = []
        self._traps: list[tuple[bytes, Trap]] = []
        self._dropping = False
        self._delay = 0.0
        self._server: asyncio.Server | None = None
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None

    @property
    def url(self) -> str:
        """The target's URL with the proxy's port."""
        user_info, at, _ = self._target.netloc.rpartition("@")
        return urlunsplit(self._target._replace(netloc=f"{user_info}{at}127.0.0.1:{self._port}"))

    def __enter__(self) -> Self:
        self._portal = self._stack.enter_context(start_blocking_portal())
        self._call(self._listen)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(self._close)
        self._stack.close()

    # --- faults

    def drop(self) -> None:
        """Drop every packet both ways, closing nothing; what is connected now stays half-open."""
        self._call(self._drop)

    def refuse(self) -> None:
        """Reset every connection and refuse new ones, as where no server listens."""
        self._call(self._close)

    def restore(self) -> None:
        """Let new connections pass; frozen ones stay as they are."""
        self._call(self._restore)

    def thaw(self) -> None:
        """Let frozen connections go on where they stood: a stall, not a loss."""
        self._call(self._thaw)

    def lead_to(self, target_url: str) -> None:
        """Let new connections go to another server, and reset those there are."""
        self._target = self._target._replace(netloc=urlsplit(target_url).netloc)
        self.cut()

    def delay(self, seconds: float) -> None:
        """Carry everything from now on this much later."""
        self._delay = seconds

    def cut(self, count: int | None = None) -> int:
        """Reset the oldest connections, or all; returns how many."""
        return self._call(self._cut, count)

    def trap(self, text: str, trap: Trap) -> None:
        """Apply `trap` to each connection in which `text` passes from now on."""
        self._traps.append((text.encode(), trap))

    def clear_traps(self) -> None:
        """Let everything pass; what is frozen stays so."""
        self._traps.clear()

    def wait_for_frozen(self, at_least: int = 1) -> None:
        """Wait until so many connections are frozen."""
        eventually(lambda: self.frozen() >= at_least, because=f"{at_least} connections are frozen")

    def frozen(self) -> int:
        """How many connections are frozen."""
        return self._call(lambda: sum(not link.passing.is_set() for link in self._links))

    def connections(self) -> int:
        """How many connections there are, frozen ones included."""
        return self._call(lambda: len(self._links))

    # --- in the event loop

    def _call(self, function: Callable[..., Answer], *arguments: object) -> Answer:
        assert self._portal is not None
        return self._portal.call(function, *arguments)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._connect, "127.0.0.1", self._port, backlog=1024, reuse_address=True
        )

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._cut(None)

    async def _restore(self) -> None:
        self._dropping = False
        if self._server is None:
            await self._listen()

    def _drop(self) -> None:
        self._dropping = True
        for link in self._links:
            link.passing.clear()

    def _thaw(self) -> None:
        self._dropping = False
        for link in self._links:
            link.passing.set()

    def _cut(self, count: int | None) -> int:
        chosen = self._links[:count]
        for link in chosen:
            link.end(reset=True)
            self._links.remove(link)
        return len(chosen)

    def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link([writer])
        self._links.append(link)
        if not self._dropping:
            link.passing.set()
        link.pumps.append(asyncio.create_task(self._carry(link, reader, writer)))

    async def _carry(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await link.passing.wait()
            answers, server = await asyncio.open_connection("127.0.0.1", self._target.port)
            link.writers.append(server)
            answering = asyncio.create_task(self._pump(link, answers, writer, upstream=False))
            link.pumps.append(answering)
            await self._pump(link, reader, server, upstream=True)
            await answering
        except (OSError, asyncio.CancelledError):
            pass  # it ends here, whatever ended it
        finally:
            link.end()
            if link in self._links:
                self._links.remove(link)

    async def _pump(
        self,
        link: _Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        upstream: bool,
    ) -> None:
        tail = b""
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                trap = self._sprung(tail + data) if upstream else None
                tail = data[-256:]
                if trap is Trap.CUT:
                    link.end(reset=True)
                    return
                if trap is Trap.FREEZE_BEFORE:
                    link.passing.clear()
                if trap is not Trap.FREEZE_AFTER:
                    await link.passing.wait()
                else:
                    link.passing.clear()
                if self._delay:
                    await asyncio.sleep(self._delay)
                writer.write(data)
                await writer.drain()
            await link.passing.wait()
            writer.write_eof()

    def _sprung(self, data: bytes) -> Trap | None:
        return next((trap for text, trap in self._traps if text in data), None)
