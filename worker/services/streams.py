"""Redelivers events whose stream was lost with its server."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import anyio
import structlog

from worker.services.errors import UnavailableError
from worker.services.outbox import OutboxRecovery
from worker.services.sinks import StreamSink

log = structlog.get_logger(__name__)

# A lost stream is redelivered in batches that fit a statement's timeout.
REDELIVERED_PER_BATCH = 2000
BATCHES_PER_CHECK = 5
CHECK_SECONDS = 3.0


class StreamService:
    """`sinks` are those whose server may lose events that it took."""

    def __init__(self, outbox: OutboxRecovery, sinks: Sequence[StreamSink]) -> None:
        self._outbox = outbox
        self._sinks = sinks

    async def check(self) -> None:
        """Redeliver lost streams; an unavailable server is logged and delays nothing else."""
        try:
            with anyio.fail_after(CHECK_SECONDS):
                await self.redeliver_lost()
        except (UnavailableError, TimeoutError) as error:
            log.warning("stream_check_failed", error=str(error) or "timeout")

    async def redeliver_lost(self) -> None:
        """Redeliver what a sink's server lost with its stream, under the same event ids.

        Some at a time: the next calls continue.
        """
        for sink in self._sinks:
            await self._renew_if_lost(sink)
            for _ in range(BATCHES_PER_CHECK):
                count = await self._outbox.redeliver(
                    sink.stream, sink.name, limit=REDELIVERED_PER_BATCH
                )
                if not count:
                    break
                log.warning("events_redelivered", stream=sink.stream, count=count)

    async def _renew_if_lost(self, sink: StreamSink) -> None:
        known = await self._outbox.epoch(sink.stream)
        if known is not None and await sink.epoch() == known:
            return
        renewed = str(uuid4())
        if await self._outbox.renew_epoch(
            sink.stream, sink.name, old=known, new=renewed, since=sink.retention
        ):
            await sink.set_epoch(renewed)
            if known is not None:
                log.warning("stream_lost", stream=sink.stream)
