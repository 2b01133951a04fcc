"""Sends events again whose stream was lost with its server."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import structlog

from worker.services.ports import Outbox, StreamSink

log = structlog.get_logger(__name__)

# A lost stream is sent again in pieces that a statement's time is enough for.
RESEND_BATCH = 2000
RESEND_BATCHES = 5


class StreamService:
    """`lossy` are the sinks whose server may lose what it was given."""

    def __init__(self, outbox: Outbox, lossy: Sequence[StreamSink]) -> None:
        self._outbox = outbox
        self._lossy = lossy

    async def resend_lost(self) -> None:
        """Where a sink's server lost its stream, send what it held again, under the old ids.

        Some at a time: what is left is sent again by the next calls.
        """
        for sink in self._lossy:
            await self._renew_if_lost(sink)
            for _ in range(RESEND_BATCHES):
                again = await self._outbox.redeliver(sink.stream, sink.name, limit=RESEND_BATCH)
                if not again:
                    break
                log.warning("events_redelivered", stream=sink.stream, count=again)

    async def _renew_if_lost(self, sink: StreamSink) -> None:
        known = await self._outbox.generation(sink.stream)
        if known is not None and await sink.generation() == known:
            return
        renewed = str(uuid4())
        if await self._outbox.renew_generation(
            sink.stream, sink.name, old=known, new=renewed, since=sink.retention
        ):
            await sink.set_generation(renewed)
            if known is not None:
                log.warning("stream_lost", stream=sink.stream)
