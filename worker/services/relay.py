"""Delivers outbox messages to their sinks: at least once, in order per payment session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import anyio
import structlog

from worker.domain.deliveries import Failure, retry_decision
from worker.domain.events import with_token
from worker.services.delivery_slots import BackgroundTasks, DeliverySlots
from worker.services.errors import DeliveryError, TokenUnreadableError, UnavailableError
from worker.services.outbox import Delivery, OutboxDeliveries
from worker.services.sinks import Sink
from worker.services.tokens import TokenCipher
from worker.services.tracing import Telemetry

log = structlog.get_logger(__name__)

# How long a delivery belongs to one relay; longer than any sink may take.
DELIVERY_LEASE = timedelta(seconds=30)
DELIVERY_SECONDS = 20.0
# How long a shutdown waits for background deliveries; the rest is delivered after its lease.
CLOSE_SECONDS = 5.0
# How long the first session that is woken waits for more to join its claim.
LINGER_SECONDS = 0.005
_NO_ANSWER = "no answer in time"


class RelayService:
    """Call `close` at the end, in the same event loop."""

    def __init__(
        self,
        outbox: OutboxDeliveries,
        cipher: TokenCipher,
        sinks: Sequence[Sink],
        *,
        chance: Callable[[], float],
        telemetry: Telemetry,
    ) -> None:
        self._outbox = outbox
        self._cipher = cipher
        self._sinks = {sink.name: sink for sink in sinks}
        self._internal = [sink.name for sink in sinks if sink.in_flight is None]
        self._slots = {s.name: DeliverySlots(s.in_flight) for s in sinks if s.in_flight is not None}
        self._background = BackgroundTasks()
        self._woken: list[str] = []
        self._chance = chance
        self._meter = telemetry.meter
        self._tracer = telemetry.tracer

    @property
    def sinks(self) -> list[str]:
        """The names of the configured sinks."""
        return list(self._sinks)

    async def close(self) -> None:
        """Wait a little for background deliveries; the rest is delivered after its lease."""
        self._slots.clear()
        await self._background.close(timeout=CLOSE_SECONDS)

    def wake(self, session_id: str) -> None:
        """Start relaying the payment session's due messages, in a batch; does not wait for it."""
        self._woken.append(session_id)
        if len(self._woken) == 1:
            self._background.start(_unattended(self._relay_woken()))

    async def _relay_woken(self) -> None:
        await anyio.sleep(LINGER_SECONDS)
        woken, self._woken = self._woken, []
        await self.relay(woken)

    async def relay(self, session_ids: Sequence[str]) -> None:
        """Deliver the due messages of these payment sessions; failures are retried by the sweep.

        Waits for deliveries to internal sinks. Those to other sinks run in the background, each
        in a slot; without a free slot the session is queued.
        """
        for sink, slots in list(self._slots.items()):
            await self._relay_in_background(sink, slots, session_ids)
        if not self._internal:
            return
        claimed = await self._outbox.claim(session_ids, self._internal, lease=DELIVERY_LEASE)
        async with anyio.create_task_group() as group:
            for delivery in claimed:
                group.start_soon(self._deliver_in_turn, delivery)

    async def _relay_in_background(
        self, sink: str, slots: DeliverySlots, session_ids: Sequence[str]
    ) -> None:
        waiting = {*slots.dequeue_all(), *session_ids}
        while waiting and sink in self._slots and (acquired := slots.acquire(len(waiting))):
            claimed: list[Delivery] = []
            try:
                claimed = await self._outbox.claim(
                    waiting, [sink], lease=DELIVERY_LEASE, limit=acquired
                )
            finally:
                slots.release(acquired - len(claimed))
            for delivery in claimed:
                self._background.start(self._deliver_in_slot(delivery, slots))
            if len(claimed) < acquired:
                # The other sessions have nothing due.
                waiting.clear()
            waiting -= {each.session_id for each in claimed}
            waiting |= slots.dequeue_all()
        slots.enqueue(waiting)

    async def _deliver_in_slot(self, delivery: Delivery, slots: DeliverySlots) -> None:
        try:
            await self._deliver_in_turn(delivery)
        except Exception:
            # Nothing awaits this task: log it here.
            log.exception("delivery_crashed", **_ids(delivery))
        finally:
            slots.release()
        if delivery.sink in self._slots:
            await _unattended(self._relay_in_background(delivery.sink, slots, []))

    async def _deliver_in_turn(self, delivery: Delivery) -> None:
        """Deliver it, then the session's next ones to the same sink, until one fails.

        A message written during the mark is found by beat's sweep.
        """
        waiting = [delivery]
        while waiting and await self._deliver(waiting[0]):
            try:
                waiting = await self._outbox.claim(
                    [delivery.session_id], [delivery.sink], lease=DELIVERY_LEASE
                )
            except UnavailableError as error:
                log.warning("relay_interrupted", error=str(error), sink=delivery.sink)
                return

    async def _deliver(self, delivery: Delivery) -> bool:
        """Deliver it and record the result; returns whether another follows it."""
        ids = _ids(delivery)
        with self._tracer.span(
            "payment_session.deliver", parent=delivery.trace_parent, **ids
        ) as span:
            more = await self._try(delivery, ids)
            result = "not taken" if more is None else "taken"
            span.note(type=delivery.envelope.get("type"), result=result)
        return bool(more)

    async def _try(self, delivery: Delivery, ids: dict[str, str]) -> bool | None:
        """Return whether another follows; None if this one was not delivered."""
        try:
            with anyio.fail_after(DELIVERY_SECONDS):
                await self._sinks[delivery.sink].deliver(self._envelope(delivery))
        except (DeliveryError, TimeoutError) as error:
            refused = error if isinstance(error, DeliveryError) else DeliveryError(_NO_ANSWER)
            if isinstance(error, TokenUnreadableError):
                self._meter.token_unreadable()
            log.warning("delivery_failed", error=str(refused), attempts=delivery.attempts, **ids)
            await self._mark_failed(delivery, refused)
            return None
        except Exception as error:
            # A bug that one event triggers must not delay other sessions' events.
            log.exception("delivery_crashed", attempts=delivery.attempts, **ids)
            await self._mark_failed(delivery, DeliveryError(type(error).__name__))
            return None
        try:
            more = await self._outbox.mark_delivered(delivery)
        except UnavailableError as error:
            # It is delivered again, with the same id, when the lease expires.
            log.warning("delivery_not_marked", error=str(error), **ids)
            return None
        self._meter.delivered(delivery.sink, age_seconds=delivery.age.total_seconds())
        log.info("event_delivered", type=delivery.envelope["type"], **ids)
        return more

    def _envelope(self, delivery: Delivery) -> dict[str, object]:
        if delivery.encrypted_token is None:
            return delivery.envelope
        return with_token(delivery.envelope, self._cipher.decrypt(delivery.encrypted_token))

    async def _mark_failed(self, delivery: Delivery, refused: DeliveryError) -> None:
        failure = Failure(
            attempts=delivery.attempts,
            age=delivery.age,
            refusal=refused.refusal,
            asked=refused.asked,
            token_left=delivery.token_left,
        )
        schedule = self._sinks[delivery.sink].schedule
        decision = retry_decision(failure, schedule, jitter=self._chance())
        try:
            await self._outbox.mark_failed(delivery, error=str(refused), decision=decision)
        except UnavailableError as error:
            log.warning("delivery_not_marked", error=str(error), **_ids(delivery))
            return
        self._meter.not_delivered(delivery.sink, dead=decision.wait is None)
        if decision.wait is None:
            log.warning("delivery_dead_lettered", error=str(refused), **_ids(delivery))
        if decision.disable_sink:
            log.warning("sink_disabled", error=str(refused), sink=delivery.sink)


async def _unattended(work: Awaitable[None]) -> None:
    """Log failures of work that nothing awaits. Beat's sweep finds what is left."""
    try:
        await work
    except UnavailableError as error:
        log.warning("relay_interrupted", error=str(error))
    except Exception:
        log.exception("relay_crashed")


def _ids(delivery: Delivery) -> dict[str, str]:
    return {
        "event_id": str(delivery.event_id),
        "session_id": delivery.session_id,
        "sink": delivery.sink,
    }
