"""Claims what is due, within every account's budget, and gives back what was not sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from worker.domain.account import Breaker
from worker.services.governor import RateGovernor
from worker.services.ports import ClaimLimits, PollTask, Sessions, UnavailableError

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
        # Those of the last claim whose sessions wait for the account, due or not.
        self._without_room: set[str] = set()

    async def claim(self, tasks: list[PollTask]) -> None:
        """Add a tick's tasks to `tasks`, shared among the accounts.

        Whoever is first now is last next time. What is in `tasks` is claimed, even after an error.

        Raises:
            UnavailableError: the database is away.
        """
        await self._governor.look()
        self._without_room.clear()
        order = self._accounts
        self._accounts = [*order[1:], order[0]]
        for place, account in enumerate(order):
            left = self._tasks_per_tick - len(tasks)
            share = -(-left // (len(order) - place))
            if share:
                await self._claim(account, share, tasks)
        await self._governor.step()

    async def _claim(self, account: str, share: int, tasks: list[PollTask]) -> None:
        """Claim no more than there is room for, then pay: another beat may have been faster."""
        room = await self._governor.room(account)
        if not room:
            self._without_room.add(account)
            self._governor.note(account, room=0, claimed=0)
            return
        breaker = self._governor.breaker(account)
        claimed = await self._sessions.claim(
            account,
            tasks=share,
            limits=self._limits,
            room=room,
            urgent_first=breaker is not Breaker.CLOSED,
        )
        strain = min((task.strain for task in claimed), default=math.inf)
        count = sum(len(task.session_ids) for task in claimed)
        self._governor.note(account, room=room, claimed=count, strain=strain)
        if not claimed:
            if breaker is Breaker.OPEN:
                self._without_room.add(account)  # a probe may be under way
            return
        mark = len(tasks)
        tasks += claimed
        paid = await self._governor.take(account, count)
        if paid < count:
            tasks[mark:] = await self._give_back_all_but(paid, claimed)

    async def _give_back_all_but(self, paid: int, claimed: Sequence[PollTask]) -> list[PollTask]:
        kept: list[PollTask] = []
        unpaid: list[PollTask] = []
        for task in claimed:
            some, rest = task.session_ids[:paid], task.session_ids[paid:]
            paid -= len(some)
            kept += [replace(task, session_ids=some)] * bool(some)
            unpaid += [replace(task, session_ids=rest)] * bool(rest)
        await self.give_back(unpaid)
        return kept

    async def give_back(self, tasks: Sequence[PollTask]) -> None:
        """Give leases back whose polls are not sent; their sessions are due at once."""
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
        """Return how long until a session may be claimed again, as far as is known, or None.

        What is due already of an account without room makes nobody look before there is some.
        """
        waits = [self._governor.room_in(account) for account in self._without_room]
        others = [account for account in self._accounts if account not in self._without_room]
        if others and (due_in := await self._sessions.next_due_in(others)) is not None:
            waits.append(due_in)
        return min(waits, default=None)
