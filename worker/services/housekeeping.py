"""Periodic cleanup: gives up unreadable sessions, erases spent tokens, purges old sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import structlog

from worker.domain.decision import Decision
from worker.domain.schedule import PollLimits
from worker.domain.session import Outcome
from worker.domain.transitions import give_up
from worker.services.errors import UnavailableError
from worker.services.meter import Meter
from worker.services.sessions import Sessions
from worker.services.tokens import Tokens

log = structlog.get_logger(__name__)

BATCH = 500
# A run takes four seconds (docs/scaling.md), so a shutdown can wait for it. Runs are ten minutes
# apart: 14 million sessions a day, more than end when ten million are tracked.
BATCHES_PER_RUN = 200


class Purge(Protocol):
    """Deleting what is not needed any more. Raises UnavailableError."""

    async def delete_finished(self, *, older_than: timedelta, limit: int) -> int:
        """Delete finished sessions without undelivered messages; returns how many.

        Dead-lettered messages, and those for a sink that is disabled or not configured, count as
        delivered.
        """


class IntakePurge(Protocol):
    """Deleting refused messages and early confirmations. Raises UnavailableError."""

    async def purge(self, *, older_than: timedelta, limit: int) -> int:
        """Delete arguments after 72 hours, rows after `older_than`; returns how many rows."""


class HousekeepingService:
    """`retention` is how long finished payment sessions are kept."""

    def __init__(  # what is deleted has a port each
        self,
        sessions: Sessions,
        tokens: Tokens,
        purge: Purge,
        refused: IntakePurge,
        *,
        limits: PollLimits,
        retention: timedelta,
        meter: Meter,
    ) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._purge = purge
        self._refused = refused
        self._limits = limits
        self._retention = retention
        self._meter = meter

    async def purge(self) -> int:
        """Give up unreadable sessions, erase spent tokens, delete what is old, in batches.

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
        await self._purge_refused()
        return total

    async def _purge_refused(self) -> None:
        """A table or a right that is missing yet must not keep sessions from being purged."""
        try:
            while await self._refused.purge(older_than=self._retention, limit=BATCH):
                pass
        except UnavailableError as error:
            log.warning("refused_messages_not_purged", error=str(error))

    async def _erase_tokens(self) -> None:
        """A token is valid for an hour; keeping it longer is only a risk."""
        while spent := await self._tokens.erase_spent(limit=BATCH):
            undelivered = [token.session_id for token in spent if token.undelivered]
            late = len(undelivered)
            self._meter.tokens_erased(delivered=len(spent) - late, undelivered=late)
            log.info("tokens_erased", count=len(spent), undelivered=len(undelivered))
            for session_id in undelivered:
                log.warning("token_expired_undelivered", session_id=session_id)

    async def _give_up(self) -> None:
        """Sessions of a paused account are not read; end those that are long over."""
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
