"""Claims due polls and sends them to the workers."""

from __future__ import annotations

import math

import anyio
import structlog

from worker.services.claims import Claims
from worker.services.publisher import Publisher
from worker.services.queues import Queues
from worker.services.sessions import PollTask

log = structlog.get_logger(__name__)

# Sessions that fall due meanwhile share tasks; a tick costs as much as ten polls. After a tick that
# sent many, the next comes as soon as it may.
SLEEP_AFTER_FEW = 0.1
FEW = 200


class PollDispatch:
    """Sends nothing while the queue `polls` is full."""

    def __init__(self, claims: Claims, publisher: Publisher, queues: Queues) -> None:
        self._claims = claims
        self._publisher = publisher
        self._queues = queues
        self._sent = 0

    async def send_due(self) -> None:
        """Claim and send for every account.

        Raises:
            UnavailableError: the database or the broker is away; no lease is kept.
        """
        self._sent = 0
        if self._queues.is_full("polls"):
            return
        tasks: list[PollTask] = []
        try:
            await self._claims.claim(tasks)
            if tasks:
                await self._publisher.send_polls(tasks)
        except BaseException:
            # Whatever went wrong, the lease of a poll that was not sent is released at once.
            with anyio.CancelScope(shield=True):
                await self._claims.release(tasks)
            raise
        self._sent = sum(len(task.session_ids) for task in tasks)
        if tasks:
            log.debug("polls_sent", tasks=len(tasks), sessions=self._sent)

    async def next_in(self) -> float:
        """Return the seconds until the next `send_due` is useful; infinite if that is not known.

        Raises:
            UnavailableError: the database is away.
        """
        if self._queues.is_full("polls"):
            return math.inf
        if self._sent:
            return SLEEP_AFTER_FEW if self._sent < FEW else 0.0
        wait = await self._claims.next_due_in()
        return math.inf if wait is None else wait.total_seconds()
