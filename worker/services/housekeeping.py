"""What is done now and then: giving up sessions that could never be read, purging old ones."""

from __future__ import annotations

from datetime import timedelta

import structlog

from worker.domain.decision import Decision
from worker.domain.schedule import PollLimits
from worker.domain.session import Outcome
from worker.domain.transitions import give_up
from worker.services.meter import Meter
from worker.services.ports import Purge, Sessions, Tokens

log = structlog.get_logger(__name__)

BATCH = 500
# A run ends within a shutdown's patience, in four seconds (docs/scaling.md); the next one, ten
# minutes later, goes on: 14 million sessions a day, more than ten million followed ones end.
BATCHES_PER_RUN = 200


class HousekeepingService:
    """`retention` is how long finished payment sessions are kept."""

    def __init__(
        self,
        sessions: Sessions,
        tokens: Tokens,
        purge: Purge,
        *,
        limits: PollLimits,
        retention: timedelta,
        meter: Meter,
    ) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._purge = purge
        self._limits = limits
        self._retention = retention
        self._meter = meter

    async def purge(self) -> int:
        """End what is over unread, erase spent tokens, delete old finished sessions, in batches.

        Returns how many sessions were deleted.
        """
        await self._give_up()
        await self._erase_tokens()
        total = 0
        for _ in range(BATCHES_PER_RUN):
            deleted = await self._purge.delete_finished(older_than=self._retention, limit=BATCH)
            total += deleted
            if not deleted:
                break
        log.info("payment_sessions_purged", count=total)
        return total

    async def _erase_tokens(self) -> None:
        """A token is good for an hour; kept longer it could only leak."""
        while spent := await self._tokens.erase_spent(limit=BATCH):
            undelivered = [token.session_id for token in spent if token.undelivered]
            late = len(undelivered)
            self._meter.tokens_erased(delivered=len(spent) - late, undelivered=late)
            log.info("tokens_erased", count=len(spent), undelivered=len(undelivered))
            for session_id in undelivered:
                log.warning("token_expired_undelivered", session_id=session_id)

    async def _give_up(self) -> None:
        """A paused account keeps its sessions from being read, but not for ever."""
        while batch := await self._sessions.overdue_ends(
            max_lifetime=self._limits.max_lifetime, limit=BATCH
        ):
            for leased in batch:
                decision = give_up(leased.session, now=leased.loaded_at, limits=self._limits)
                if decision is not None and await self._sessions.record(leased, decision):
                    self._count(decision)
                    log.warning("session_abandoned", session_id=leased.session.session_id)

    def _count(self, decision: Decision) -> None:
        self._meter.anomaly(decision.finding)
        self._meter.finished(decision.session.account, Outcome.EXPIRED)
