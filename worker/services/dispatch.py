"""One tick of beat: claim what is due, send it to the workers, and say when to look again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import structlog

from worker.domain.deliveries import Route
from worker.services.backlog_monitor import BacklogMonitor
from worker.services.claims import Claims
from worker.services.confirmation import ConfirmationService
from worker.services.meter import Meter
from worker.services.ports import Outbox, PollTask, Publisher, UnavailableError
from worker.services.streams import StreamService

log = structlog.get_logger(__name__)

SHORTEST_SLEEP = 0.05
# What falls due meanwhile shares its tasks; a tick costs as much as ten polls. Where one sent many,
# the next comes sooner.
SLEEP_AFTER_FEW = 0.1
FEW = 200
LONGEST_SLEEP = 1.0
FIRST_BACKOFF_SLEEP = 0.25
LONGEST_BACKOFF_SLEEP = 2.0
SWEEP_EVERY = 1.0
WARN_EVERY = 1.0
STREAM_CHECK_EVERY = 5.0
STREAM_CHECK_SECONDS = 3.0
# Each tick waits on the database and the broker this long at most.
TICK_SECONDS = 15.0
SESSIONS_PER_RELAY = 50
# How many sessions each sink may have woken at once. A slow one's backlog fills no queue.
SWEPT_SESSIONS = 800
SWEPT_SESSIONS_BESIDE = 200
# A queue that holds this many ticks' worth is not being worked off: adding would only fill it.
TICKS_WAITING = 4


class DispatchService:
    """`monotonic` returns seconds."""

    def __init__(  # noqa: PLR0913 - eight to work with, and one to tell of it
        self,
        claims: Claims,
        outbox: Outbox,
        publisher: Publisher,
        streams: StreamService,
        confirmation: ConfirmationService,
        watch: BacklogMonitor,
        *,
        routes: Sequence[Route],
        tasks_per_tick: int,
        monotonic: Callable[[], float],
        meter: Meter,
    ) -> None:
        self._claims = claims
        self._outbox = outbox
        self._publisher = publisher
        self._streams = streams
        self._sweep_limits = {
            route.sink: SWEPT_SESSIONS if route.internal else SWEPT_SESSIONS_BESIDE
            for route in routes
        }
        self._confirmation = confirmation
        self._tasks_per_tick = tasks_per_tick
        self._monotonic = monotonic
        self._watch = watch
        self._meter = meter
        self._swept_at = float("-inf")
        self._warned_at = float("-inf")
        self._checked_at = float("-inf")
        self._failures = 0
        self._ticking = anyio.Lock()
        self._stopped = False

    async def tick(self) -> float:
        """Claim, send, sweep; returns how many seconds to sleep. Never raises for an outage."""
        async with self._ticking:
            if self._stopped:
                return LONGEST_SLEEP
            try:
                with anyio.fail_after(TICK_SECONDS):
                    sleep = await self._tick()
            except (UnavailableError, TimeoutError) as error:
                self._failures += 1
                self._meter.ticked(ok=False)
                sleep = min(FIRST_BACKOFF_SLEEP * 2.0**self._failures, LONGEST_BACKOFF_SLEEP)
                log.warning("tick_failed", error=str(error) or "timeout", retry_in=sleep)
            else:
                self._failures = 0
                self._meter.ticked(ok=True)
            return sleep

    async def close(self) -> None:
        """Let a tick under way end, then claim nothing more."""
        async with self._ticking:
            self._stopped = True
        await self._watch.close()

    async def _tick(self) -> float:
        self._watch.look()
        # First, so that it needs no broker: the log and the metrics tell of a missing order even
        # while nobody can be told. The sweep below wakes the relay for what is written here.
        await self._warn()
        waiting = await self._publisher.waiting()
        self._meter.queues(waiting)
        room = self._tasks_per_tick * TICKS_WAITING
        backed_up = waiting["polls"] >= room
        sent = 0 if backed_up else await self._dispatch()
        if waiting["events"] < room:
            await self._sweep()
        await self._check_streams()
        if backed_up:
            return LONGEST_SLEEP
        if sent:
            return SLEEP_AFTER_FEW if sent < FEW else SHORTEST_SLEEP
        wait = await self._claims.next_due_in()
        seconds = LONGEST_SLEEP if wait is None else wait.total_seconds()
        return min(max(seconds, SHORTEST_SLEEP), LONGEST_SLEEP)

    async def _dispatch(self) -> int:
        """Claim and send for every account; returns how many sessions."""
        tasks: list[PollTask] = []
        try:
            await self._claims.claim(tasks)
            if tasks:
                await self._publisher.send_polls(tasks)
        except BaseException:
            # Whatever went wrong, a claim that was not sent is given back at once.
            with anyio.CancelScope(shield=True):
                await self._claims.give_back(tasks)
            raise
        sessions = sum(len(task.session_ids) for task in tasks)
        if tasks:
            log.debug("polls_sent", tasks=len(tasks), sessions=sessions)
        return sessions

    async def _warn(self) -> None:
        """Tell shops of orders that are missing while their authorizations run out."""
        if self._monotonic() - self._warned_at < WARN_EVERY:
            return
        self._warned_at = self._monotonic()
        await self._confirmation.warn()

    async def _sweep(self) -> None:
        """Wake the relay for messages that nobody is delivering: a lost wake-up, a retry due."""
        if self._monotonic() - self._swept_at < SWEEP_EVERY:
            return
        self._swept_at = self._monotonic()
        due = await self._outbox.due_sessions(self._sweep_limits)
        for start in range(0, len(due), SESSIONS_PER_RELAY):
            await self._publisher.send_relay(due[start : start + SESSIONS_PER_RELAY])

    async def _check_streams(self) -> None:
        """Send lost streams again; their server being away holds up nothing else."""
        if self._monotonic() - self._checked_at < STREAM_CHECK_EVERY:
            return
        self._checked_at = self._monotonic()
        try:
            with anyio.fail_after(STREAM_CHECK_SECONDS):
                await self._streams.resend_lost()
        except (UnavailableError, TimeoutError) as error:
            log.warning("stream_check_failed", error=str(error) or "timeout")
