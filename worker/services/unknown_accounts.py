"""Leaves sessions of accounts that this worker does not know to the workers that do."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from worker.services.errors import UnavailableError
from worker.services.governor import RateGovernor
from worker.services.sessions import LeasedSession, Sessions

log = structlog.get_logger(__name__)

# How long such a session is not claimable: not at once again, by this worker.
HELD_FOR_OTHERS = timedelta(seconds=5)
LOGGED_EVERY_SECONDS = 60.0


class UnknownAccounts:
    """While a release that adds an account is rolled out, older workers get its sessions, too.

    That says nothing of the account: it is not paused, and no failure is counted.
    """

    def __init__(
        self, sessions: Sessions, governor: RateGovernor, *, monotonic: Callable[[], float]
    ) -> None:
        self._sessions = sessions
        self._governor = governor
        self._monotonic = monotonic
        self._logged_at: dict[str, float] = {}

    async def leave(self, batch: Sequence[LeasedSession]) -> list[LeasedSession]:
        """Leave the sessions of unknown accounts to others; returns those of known ones."""
        known: list[LeasedSession] = []
        unknown: dict[str, list[LeasedSession]] = defaultdict(list)
        for leased in batch:
            account = leased.session.account
            (known if self._governor.knows(account) else unknown[account]).append(leased)
        for account, left in unknown.items():
            await self._leave(account, left)
        return known

    async def _leave(self, account: str, left: Sequence[LeasedSession]) -> None:
        now = self._monotonic()
        if now - self._logged_at.get(account, -math.inf) >= LOGGED_EVERY_SECONDS:
            self._logged_at[account] = now
            log.warning("account_not_configured", account=account, count=len(left))
        await self._governor.give_back(account, len(left))
        try:
            await self._sessions.hold(
                [leased.session.session_id for leased in left],
                [leased.lease_id for leased in left],
                lease=HELD_FOR_OTHERS,
            )
        except UnavailableError as error:
            # Their leases expire all the same, only later.
            log.warning("poll_load_failed", count=len(left), error=str(error))
