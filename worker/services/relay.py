"""Carries outbox messages to their sinks: at least once, in order per payment session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import uuid4

import anyio
import structlog

from worker.domain.events import delivery_backoff, with_token
from worker.services.ports import (
    Delivery,
    DeliveryError,
    LossySink,
    Outbox,
    Sink,
    TokenCipher,
    UnavailableError,
)

log = structlog.get_logger(__name__)

# A delivery under way is another relay's until then; longer than any sink may take.
DELIVERY_LEASE = timedelta(seconds=30)
DELIVERY_SECONDS = 20.0
# A lost stream is sent again in pieces that a statement's time is enough for.
RESEND_BATCH = 2000
RESEND_BATCHES = 5


class RelayService:
    """`lossy` names those of `sinks` whose server may lose what it was given."""

    def __init__(
        self,
        outbox: Outbox,
        cipher: TokenCipher,
        sinks: Sequence[Sink],
        *,
        lossy: Sequence[LossySink],
        chance: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._cipher = cipher
        self._sinks = {sink.name: sink for sink in sinks}
        self._lossy = lossy
        self._chance = chance

    @property
    def sinks(self) -> list[str]:
        """The names of the configured sinks."""
        return list(self._sinks)

    async def relay(self, session_ids: Sequence[str]) -> None:
        """Deliver what these payment sessions have due; failures wait for beat's sweep."""
        waiting = list(session_ids)
        while waiting:
            claimed = await self._outbox.claim(waiting, self.sinks, lease=DELIVERY_LEASE)
            delivered: list[str] = []
            async with anyio.create_task_group() as group:
                for delivery in claimed:
                    group.start_soon(self._deliver, delivery, delivered)
            # The next message of a session is deliverable now that this one is.
            waiting = delivered

    async def _deliver(self, delivery: Delivery, delivered: list[str]) -> None:
        ids = {
            "event_id": str(delivery.event_id),
            "session_id": delivery.session_id,
            "sink": delivery.sink,
        }
        try:
            with anyio.fail_after(DELIVERY_SECONDS):
                await self._sinks[delivery.sink].deliver(self._envelope(delivery))
        except (DeliveryError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            log.warning("delivery_failed", error=reason, attempts=delivery.attempts, **ids)
            await self._mark_failed(delivery, reason)
            return
        except Exception as error:
            # A fault of ours, met by one event: other sessions' events must not wait for it.
            log.exception("delivery_failed", attempts=delivery.attempts, **ids)
            await self._mark_failed(delivery, type(error).__name__)
            return
        try:
            await self._outbox.mark_delivered(delivery)
        except UnavailableError as error:
            # It is delivered again under its id when the lease is over.
            log.warning("delivery_not_marked", error=str(error), **ids)
            return
        delivered.append(delivery.session_id)
        log.info("event_delivered", type=delivery.envelope["type"], **ids)

    def _envelope(self, delivery: Delivery) -> dict[str, object]:
        if delivery.encrypted_token is None:
            return delivery.envelope
        return with_token(delivery.envelope, self._cipher.decrypt(delivery.encrypted_token))

    async def _mark_failed(self, delivery: Delivery, reason: str) -> None:
        wait = delivery_backoff(delivery.attempts, jitter=self._chance())
        try:
            await self._outbox.mark_failed(delivery, error=reason, wait=wait)
        except UnavailableError as error:
            log.warning("delivery_not_marked", error=str(error), session_id=delivery.session_id)

    async def resend_lost_streams(self) -> None:
        """Where a sink's server lost its stream, send what it held again, under the old ids.

        Some at a time: what is left is sent again by the next calls.
        """
        for sink in self._lossy:
            await self._renew_if_lost(sink)
            for _ in range(RESEND_BATCHES):
                again = await self._outbox.send_again(sink.stream, sink.name, limit=RESEND_BATCH)
                if not again:
                    break
                log.warning("events_sent_again", stream=sink.stream, count=again)

    async def _renew_if_lost(self, sink: LossySink) -> None:
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
