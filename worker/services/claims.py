"""Claims due sessions within every account's budget, and releases the leases of unsent polls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from worker.domain.account import Breaker
from worker.services.errors import UnavailableError
from worker.services.governor import RateGovernor
from worker.services.sessions import ClaimLimits, PollTask, Sessions

log = structlog.get_logger(__name__)


class Claims:
    """`accounts` are the configured ones."""

    def __init__(
        self,
        sessions: Sessions,
        governor: RateGovernor,
        *,
        accounts: Sequence[str],
        tasks_per_tick: int,
        limits: ClaimLimits,
    ) -> None:
        self._sessions = sessions
        self._governor = governor
        self._accounts = list(accounts)
        self._tasks_per_tick = tasks_per_tick
        self._limits = limits
        # Accounts that the last claim found nothing available for, whether sessions are due or not.
        self._exhausted: set[str] = set()

    async def claim(self, tasks: list[PollTask]) -> None:
        """Add a tick's tasks to `tasks`, shared among the accounts.

        The first account of one tick is the last of the next. The tasks in `tasks` are claimed,
        even after an error.

        Raises:
            UnavailableError: the database is away.
        """
        await self._governor.refresh()
        self._exhausted.clear()
        order = self._accounts
        self._accounts = [*order[1:], order[0]]
        for position, account in enumerate(order):
            left = self._tasks_per_tick - len(tasks)
            share = -(-left // (len(order) - position))
            if share:
                await self._claim(account, share, tasks)
        await self._governor.step()

    async def _claim(self, account: str, share: int, tasks: list[PollTask]) -> None:
        """Claim no more than is available, then acquire: another beat may have been faster."""
        available = await self._governor.available(account)
        if not available:
            self._exhausted.add(account)
            self._governor.note_claim(account, available=0, claimed=0)
            return
        breaker = self._governor.breaker(account)
        claimed = await self._sessions.claim(
            account,
            tasks=share,
            limits=self._limits,
            available=available,
            urgent_first=breaker is not Breaker.CLOSED,
        )
        count = sum(len(task.session_ids) for task in claimed)
        self._governor.note_claim(
            account,
            available=available,
            claimed=count,
            lateness_ratio=min((task.lateness_ratio for task in claimed), default=math.inf),
        )
        if not claimed:
            if breaker is Breaker.OPEN:
                self._exhausted.add(account)  # a probe may be under way
            return
        first = len(tasks)
        tasks += claimed
        acquired = await self._governor.acquire(account, count)
        if acquired < count:
            tasks[first:] = await self._release_all_but(acquired, claimed)

    async def _release_all_but(self, acquired: int, claimed: Sequence[PollTask]) -> list[PollTask]:
        kept: list[PollTask] = []
        rejected: list[PollTask] = []
        for task in claimed:
            some, rest = task.session_ids[:acquired], task.session_ids[acquired:]
            acquired -= len(some)
            kept += [replace(task, session_ids=some)] * bool(some)
            rejected += [replace(task, session_ids=rest)] * bool(rest)
        await self.release(rejected)
        return kept

    async def release(self, tasks: Sequence[PollTask]) -> None:
        """Release the leases of polls that are not sent; their sessions are due at once."""
        if not tasks:
            return
        try:
            await self._sessions.release(
                [session_id for task in tasks for session_id in task.session_ids],
                [task.lease_id for task in tasks],
            )
        except UnavailableError as error:
            log.warning("lease_release_failed", error=str(error))

    async def next_due_in(self) -> timedelta | None:
        """Return how long until a session may be claimed again; None if none is known.

        Due sessions of an account whose budget is exhausted count from when a read is available.
        """
        waits = [self._governor.available_in(account) for account in self._exhausted]
        others = [account for account in self._accounts if account not in self._exhausted]
        if others and (due_in := await self._sessions.next_due_in(others)) is not None:
            waits.append(due_in)
        return min(waits, default=None)
