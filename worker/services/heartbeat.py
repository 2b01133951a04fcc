"""Writes who this process is and that it lives, so that `health` can miss it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import anyio
import structlog

from worker.services.errors import UnavailableError

log = structlog.get_logger(__name__)

BEAT_EVERY_SECONDS = 10.0
# How long the last heartbeat, which says that the process stopped in order, may take.
STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A worker or beat process; `role` is `worker` or `beat`."""

    process_id: UUID
    role: str
    host: str
    pid: int
    version: str
    queues: Sequence[str]
    accounts: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLook:
    """What waits in a queue; the hash is of its next message, None where the broker shows none."""

    queue: str
    waiting: int
    next_message_hash: bytes | None = None


class Processes(Protocol):
    """Heartbeats at rest. Both raise UnavailableError."""

    async def beat(self, process: Process, *, progressed: bool, stopped: bool) -> None:
        """Note that the process lives, or that it has stopped in order."""

    async def note_queues(self, queues: Sequence[QueueLook]) -> None:
        """Note what waits in each queue, and since when it has stood still."""


class HeartbeatService:
    """Beats by itself from `start` to `close`; nobody waits for it, and it fails nobody."""

    def __init__(self, processes: Processes, process: Process) -> None:
        self._processes = processes
        self._process = process
        self._progressed = True
        self._beating: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to beat in this event loop."""
        self._beating = asyncio.create_task(self._beat_on())

    def progressed(self) -> None:
        """Note that the process has worked: the next heartbeat says so."""
        self._progressed = True

    async def close(self) -> None:
        """Say that the process stops in order, so that nobody is alarmed."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        with anyio.move_on_after(STOP_SECONDS):
            await self._beat(stopped=True)

    async def _beat_on(self) -> None:
        while True:
            await self._beat()
            await asyncio.sleep(BEAT_EVERY_SECONDS)

    async def _beat(self, *, stopped: bool = False) -> None:
        progressed, self._progressed = self._progressed, False
        try:
            await self._processes.beat(self._process, progressed=progressed, stopped=stopped)
        except UnavailableError as error:
            self._progressed |= progressed
            log.warning("heartbeat_not_written", error=str(error))
        except Exception:
            # What only says that the process lives must not end it.
            log.exception("heartbeat_crashed")
