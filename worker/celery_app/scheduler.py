"""The beat scheduler: each tick claims due payment sessions and sends them to the workers."""

from __future__ import annotations

import structlog
from celery.beat import Scheduler

from config.settings import Settings, load
from worker.adapters import clock
from worker.bootstrap.beat import BeatServices, open_beat
from worker.celery_app.liveness_file import touch
from worker.celery_app.runtime import Runtime
from worker.services.dispatch import LONGEST_SLEEP

log = structlog.get_logger(__name__)

runtime: Runtime[BeatServices] = Runtime()


class SessionScheduler(Scheduler):
    """Beat's own entries as ever, and the payment sessions, whose schedule is in Postgres.

    Several may run at once. An outage makes a tick back off; beat itself never ends of one.
    """

    def setup_schedule(self) -> None:
        """Build the runtime; beat calls this once, and not for the scheduler of its banner."""
        super().setup_schedule()
        settings = load(Settings)
        self._progress_file = settings.progress_file
        self._own_at = clock.monotonic()
        runtime.start(open_beat(settings, self.app))

    def tick(self, *args: object, **kwargs: object) -> float:
        """Do what is due; returns how many seconds to sleep."""
        try:
            sessions = runtime.call(runtime.services.dispatch.tick)
            # Its reckoning of time zones costs as much as a third of a tick of ours.
            if (now := clock.monotonic()) >= self._own_at:
                own: float | None = super().tick(*args, **kwargs)
                self._own_at = now + (LONGEST_SLEEP if own is None else own)
        except Exception:
            # Celery's beat ends with whatever its scheduler raises; this one goes on.
            log.exception("tick_crashed")
            return LONGEST_SLEEP
        finally:
            touch(self._progress_file)
        return min(self._own_at - now, sessions)

    def close(self) -> None:
        """Let a tick under way end, then close the runtime; beat calls this more than once."""
        super().close()
        runtime.close()
