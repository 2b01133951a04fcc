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
    """Sends beat's entries, and claims payment sessions, whose schedule is in Postgres.

    Several may run at once. After a failed tick it waits; no error ends beat.
    """

    def setup_schedule(self) -> None:
        """Open the services. Beat calls this once; not for the scheduler that its banner shows."""
        super().setup_schedule()
        settings = load(Settings)
        self._progress_file = settings.progress_file
        self._entries_at = clock.monotonic()
        runtime.start(open_beat(settings, self.app))

    def tick(self, *args: object, **kwargs: object) -> float:
        """Send what is due; return how many seconds to sleep."""
        try:
            sessions = runtime.call(runtime.services.dispatch.tick)
            # Beat's crontab check costs a third of our tick; run it only when due.
            if (now := clock.monotonic()) >= self._entries_at:
                wait: float | None = super().tick(*args, **kwargs)
                self._entries_at = now + (LONGEST_SLEEP if wait is None else wait)
        except Exception:
            # An error that a scheduler raises ends beat.
            log.exception("tick_crashed")
            return LONGEST_SLEEP
        finally:
            touch(self._progress_file)
        return min(self._entries_at - now, sessions)

    def close(self) -> None:
        """Let a running tick end, then close the services. Beat calls this more than once."""
        super().close()
        runtime.close()
