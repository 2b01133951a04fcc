"""Notes since when each queue of ours has not been empty, and whether it moves."""

from __future__ import annotations

import structlog

from worker.services.errors import UnavailableError
from worker.services.heartbeat import Processes
from worker.services.publisher import Publisher

log = structlog.get_logger(__name__)


class QueueWatch:
    """Fails no tick."""

    def __init__(self, publisher: Publisher, processes: Processes) -> None:
        self._publisher = publisher
        self._processes = processes

    async def watch(self) -> None:
        """Read each queue: messages carry no time of sending."""
        try:
            await self._processes.note_queues(await self._publisher.heads())
        except UnavailableError as error:
            log.warning("queues_not_watched", error=str(error))
        except Exception:
            log.exception("queue_watch_crashed")
