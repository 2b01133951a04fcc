"""Keeps the requests of all processes together within each account's read budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from worker.domain.account import AccountState, Breaker
from worker.domain.quota import (
    MULTIPLIER_STEP_EVERY,
    ReadQuotaConfig,
    next_interval_multiplier,
)
from worker.services.errors import UnavailableError
from worker.services.meter import AccountFigures

log = structlog.get_logger(__name__)

# A worker that sends a first poll uses account states of this age at most.
STATES_KEPT_SECONDS = 1.0
# An interval multiplier is written, and logged, once it has changed by these factors.
WRITTEN_FROM = 1.01
LOGGED_FROM = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsRead:
    """The states of accounts by name, and when they were read, by the database's clock."""

    states: Mapping[str, AccountState]
    at: datetime


class Accounts(Protocol):
    """The states of accounts, shared by all processes. All methods raise UnavailableError."""

    async def read(self, names: Collection[str]) -> AccountsRead:
        """Return the state of each; a new state for an account without one."""

    async def set_interval_multiplier(self, name: str, *, before: float, after: float) -> bool:
        """Change the multiplier, once a second at most; False: another process was first."""


class Quota(Protocol):
    """Reads that all processes together may send, by account. Never raises, never waits long.

    `budget` is in reads a second. While the shared count is unavailable, each process uses a share
    of the budget.
    """

    async def available(self, account: str, budget: float) -> int:
        """Return how many reads may be sent now; acquires none."""

    async def acquire(self, account: str, budget: float, count: int) -> int:
        """Acquire up to `count` reads; returns how many were acquired."""

    async def give_back(self, account: str, count: int) -> None:
        """Give back `count` reads that another process acquired and this one does not send."""


@dataclass(slots=True)
class _LatenessRatio:
    """What the claims since the last step found."""

    # The lowest lateness ratio of a claimed session.
    lowest_ratio: float = math.inf
    # Whether a claim used all available reads; whether one left some because nothing more was due.
    exhausted: bool = False
    drained: bool = False

    @property
    def value(self) -> float | None:
        """The lateness that the budget causes; None: none; infinite: unknown."""
        if self.drained or not self.exhausted:
            return None
        return self.lowest_ratio


class RateGovernor:
    """`quota_configs` are by configured account; `monotonic` returns seconds."""

    def __init__(
        self,
        accounts: Accounts,
        quota: Quota,
        *,
        quota_configs: Mapping[str, ReadQuotaConfig],
        monotonic: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._quota = quota
        self._quota_configs = quota_configs
        self._monotonic = monotonic
        self._known = AccountsRead(states={}, at=datetime.min.replace(tzinfo=UTC))
        self._refreshed_at = float("-inf")
        self._stepped_at = float("-inf")
        self._lateness = {name: _LatenessRatio() for name in quota_configs}
        self._logged = dict.fromkeys(quota_configs, 1.0)

    async def refresh(self) -> None:
        """Read the states of the accounts.

        Raises:
            UnavailableError: the database is away; the states read before are still used.
        """
        self._known = await self._accounts.read(list(self._quota_configs))
        self._refreshed_at = self._monotonic()

    def breaker(self, account: str) -> Breaker:
        """Return the state of the account's circuit breaker, by the last refresh."""
        return self._state(account).breaker(self._now())

    async def available(self, account: str) -> int:
        """Return how many reads may be claimed now; none while the account is paused."""
        if self._state(account).is_paused(self._now()):
            return 0
        return await self._quota.available(account, self._budget(account))

    def available_in(self, account: str) -> timedelta:
        """Return how long an account without available reads waits for the next one."""
        paused_until, now = self._state(account).paused_until, self._now()
        if paused_until is not None and paused_until > now:
            return paused_until - now
        return timedelta(seconds=1 / self._budget(account))

    async def acquire(self, account: str, count: int) -> int:
        """Acquire up to `count` reads; returns how many were acquired. Never raises."""
        if self._monotonic() - self._refreshed_at > STATES_KEPT_SECONDS:
            try:
                await self.refresh()
            except UnavailableError as error:
                log.warning("account_read_failed", error=str(error))
        if account not in self._quota_configs:
            return count  # no longer configured: no request is sent for it
        return await self._quota.acquire(account, self._budget(account), count)

    def knows(self, account: str) -> bool:
        """Return whether this process is configured to read the account's sessions."""
        return account in self._quota_configs

    async def give_back(self, account: str, count: int) -> None:
        """Give back reads that this process cannot send. Never raises."""
        await self._quota.give_back(account, count)

    def figures(self) -> dict[str, AccountFigures]:
        """Return each account's figures for the meter, by the last refresh."""
        return {name: self._figures(name) for name in self._quota_configs}

    def _figures(self, account: str) -> AccountFigures:
        state, now = self._state(account), self._now()
        return AccountFigures(
            budget=self._budget(account),
            share=state.share(now) * state.ramp(now),
            interval_multiplier=state.interval_multiplier,
            paused=state.is_paused(now),
            breaker=state.breaker(now),
        )

    # --- the interval multiplier

    def note_claim(
        self, account: str, *, available: int, claimed: int, lateness_ratio: float = math.inf
    ) -> None:
        """Note the result of a claim; `lateness_ratio` is the lowest of the claimed sessions."""
        lateness = self._lateness[account]
        lateness.lowest_ratio = min(lateness.lowest_ratio, lateness_ratio)
        if claimed < available:
            lateness.drained = True
        else:
            lateness.exhausted = True

    async def step(self) -> None:
        """Once a second, adjust the interval multiplier of each account.

        Raises:
            UnavailableError: the database is away.
        """
        if self._monotonic() - self._stepped_at < MULTIPLIER_STEP_EVERY.total_seconds():
            return
        self._stepped_at = self._monotonic()
        for account in self._quota_configs:
            lateness, self._lateness[account] = self._lateness[account], _LatenessRatio()
            if self.breaker(account) is Breaker.CLOSED:
                await self._adjust(account, lateness)

    async def _adjust(self, account: str, lateness: _LatenessRatio) -> None:
        ratio = lateness.value
        if ratio is not None and math.isinf(ratio):
            return  # another process, or sessions that were never read, used the budget
        before = self._state(account).interval_multiplier
        after = next_interval_multiplier(before, ratio)
        changed = max(after / before, before / after)
        if after == before or (changed < WRITTEN_FROM and after > 1):
            return
        if not await self._accounts.set_interval_multiplier(account, before=before, after=after):
            return
        logged = self._logged[account]
        if after == 1 or max(after / logged, logged / after) >= LOGGED_FROM:
            self._logged[account] = after
            log.info("interval_multiplier_changed", account=account, multiplier=round(after, 2))

    # --- what is known

    def _state(self, account: str) -> AccountState:
        return self._known.states.get(account, AccountState())

    def _now(self) -> datetime:
        """The database's time of the last refresh plus the time since."""
        if math.isinf(self._refreshed_at):
            return self._known.at
        return self._known.at + timedelta(seconds=self._monotonic() - self._refreshed_at)

    def _budget(self, account: str) -> float:
        return self._quota_configs[account].budget(self._state(account), self._now())
