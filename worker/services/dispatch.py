"""One tick of beat: runs the jobs that are due and returns how long to sleep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio
import structlog

from worker.services.backlog_monitor import REFRESH_SECONDS, BacklogMonitor
from worker.services.confirmation import ConfirmationService
from worker.services.errors import UnavailableError
from worker.services.intake_sweep import IntakeSweep
from worker.services.meter import Meter
from worker.services.periodic import Periodic
from worker.services.poll_dispatch import PollDispatch
from worker.services.queue_watch import QueueWatch
from worker.services.queues import Queues
from worker.services.streams import StreamService
from worker.services.sweep import Sweep

log = structlog.get_logger(__name__)

SHORTEST_SLEEP = 0.05
LONGEST_SLEEP = 1.0
FIRST_BACKOFF_SLEEP = 0.25
LONGEST_BACKOFF_SLEEP = 2.0
EVERY_TICK = 0.0
WARN_EVERY = 1.0
SWEEP_EVERY = 1.0
STREAM_CHECK_EVERY = 5.0
QUEUE_WATCH_EVERY = 10.0
# A tick that waits for the database or the broker ends after this time.
TICK_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatJobs:
    """What beat does periodically."""

    backlog: BacklogMonitor
    confirmation: ConfirmationService
    queues: Queues
    polls: PollDispatch
    sweep: Sweep
    streams: StreamService
    intake: IntakeSweep
    queue_watch: QueueWatch


class DispatchService:
    """`monotonic` returns seconds."""

    def __init__(self, jobs: BeatJobs, *, monotonic: Callable[[], float], meter: Meter) -> None:
        self._jobs = [
            Periodic(REFRESH_SECONDS, jobs.backlog.refresh),
            # Before all that needs the broker: logs and metrics show a missing order even while
            # no event can be delivered. The sweep wakes the relay for its events.
            Periodic(WARN_EVERY, jobs.confirmation.warn),
            Periodic(EVERY_TICK, jobs.queues.refresh),
            Periodic(EVERY_TICK, jobs.polls.send_due),
            Periodic(SWEEP_EVERY, jobs.sweep.wake_relay),
            Periodic(STREAM_CHECK_EVERY, jobs.streams.check),
            Periodic(SWEEP_EVERY, jobs.intake.sweep),
            Periodic(QUEUE_WATCH_EVERY, jobs.queue_watch.watch),
        ]
        self._polls = jobs.polls
        self._backlog = jobs.backlog
        self._monotonic = monotonic
        self._meter = meter
        self._failures = 0
        self._ticking = anyio.Lock()
        self._stopped = False

    async def tick(self) -> float:
        """Run the jobs that are due; returns the seconds to sleep. Never raises for an outage."""
        async with self._ticking:
            if self._stopped:
                return LONGEST_SLEEP
            try:
                with anyio.fail_after(TICK_SECONDS):
                    for job in self._jobs:
                        await job.run_if_due(self._monotonic())
                    sleep = min(max(await self._polls.next_in(), SHORTEST_SLEEP), LONGEST_SLEEP)
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
        """Finish a tick that is under way, then run no job any more."""
        async with self._ticking:
            self._stopped = True
        await self._backlog.close()
