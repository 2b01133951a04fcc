"""Keeps each account's requests within its budget, in all processes together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from worker.domain.account import AccountState, Breaker
from worker.domain.quota import ReadQuotaConfig, next_interval_multiplier
from worker.services.meter import AccountFigures
from worker.services.ports import Accounts, AccountsRead, Quota, UnavailableError

log = structlog.get_logger(__name__)

# A worker that sends a first poll goes by what it knew so long ago, at most.
LOOK_AGAIN_SECONDS = 1.0
STEP_SECONDS = 1.0
# What a stretch has changed by before it is written or told.
WORTH_WRITING = 1.01
WORTH_TELLING = 1.25


@dataclass(slots=True)
class _LatenessRatio:
    """What the budget paid for since the last step."""

    # The strain of the least valuable session claimed.
    least: float = math.inf
    # Whether a claim, or a look without one, found the budget spent; or nobody waiting any more.
    spent: bool = False
    emptied: bool = False

    @property
    def value(self) -> float | None:
        """How long sessions wait for the budget; None: not at all; infinite: it is not known."""
        if self.emptied or not self.spent:
            return None
        return self.least


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
        self._looked_at = float("-inf")
        self._stepped_at = float("-inf")
        self._strains = {name: _LatenessRatio() for name in quota_configs}
        self._told = dict.fromkeys(quota_configs, 1.0)

    async def look(self) -> None:
        """See how the accounts are doing now.

        Raises:
            UnavailableError: the database is away; what was known is gone by.
        """
        self._known = await self._accounts.read(list(self._quota_configs))
        self._looked_at = self._monotonic()

    def breaker(self, account: str) -> Breaker:
        """Whether the account is probed, ramps up or is asked by everybody, when last looked at."""
        return self._state(account).breaker(self._now())

    async def room(self, account: str) -> int:
        """Return how many reads may be claimed now; none while the account waits."""
        if self._state(account).is_paused(self._now()):
            return 0
        return await self._quota.room(account, self._budget(account))

    def room_in(self, account: str) -> timedelta:
        """Return how long an account without room has none: to its pause's end, or for a read."""
        paused_until, now = self._state(account).paused_until, self._now()
        if paused_until is not None and paused_until > now:
            return paused_until - now
        return timedelta(seconds=1 / self._budget(account))

    async def take(self, account: str, count: int) -> int:
        """Take up to `count` reads; returns how many there were. Never raises."""
        if self._monotonic() - self._looked_at > LOOK_AGAIN_SECONDS:
            try:
                await self.look()
            except UnavailableError as error:
                log.warning("account_read_failed", error=str(error))
        if account not in self._quota_configs:
            return count  # not configured any more: Klarna is not asked at all
        return await self._quota.take(account, self._budget(account), count)

    def figures(self) -> dict[str, AccountFigures]:
        """How each account is doing, as far as is known: for the meter."""
        return {name: self._figures(name) for name in self._quota_configs}

    def _figures(self, account: str) -> AccountFigures:
        state, now = self._state(account), self._now()
        return AccountFigures(
            budget=self._budget(account),
            share=state.share(now) * state.ramp(now),
            stretch=state.stretch,
            paused=state.is_paused(now),
            breaker=state.breaker(now),
        )

    # --- the stretch

    def note(self, account: str, *, room: int, claimed: int, strain: float = math.inf) -> None:
        """Note what a claim found; `strain` is that of the least valuable session it took."""
        noted = self._strains[account]
        noted.least = min(noted.least, strain)
        if claimed < room:
            noted.emptied = True
        else:
            noted.spent = True

    async def step(self) -> None:
        """Once a second, let each account's intervals stretch or come back.

        Raises:
            UnavailableError: the database is away.
        """
        if self._monotonic() - self._stepped_at < STEP_SECONDS:
            return
        self._stepped_at = self._monotonic()
        for account in self._quota_configs:
            noted, self._strains[account] = self._strains[account], _LatenessRatio()
            if self.breaker(account) is Breaker.CLOSED:
                await self._stretch(account, noted)

    async def _stretch(self, account: str, noted: _LatenessRatio) -> None:
        strain = noted.value
        if strain is not None and math.isinf(strain):
            return  # the budget was spent elsewhere, or on sessions never read
        before = self._state(account).stretch
        after = next_interval_multiplier(before, strain)
        changed = max(after / before, before / after)
        if after == before or (changed < WORTH_WRITING and after > 1):
            return
        if not await self._accounts.stretch(account, before=before, after=after):
            return
        told = self._told[account]
        if after == 1 or max(after / told, told / after) >= WORTH_TELLING:
            self._told[account] = after
            log.info("interval_multiplier_changed", account=account, multiplier=round(after, 2))

    # --- what is known

    def _state(self, account: str) -> AccountState:
        return self._known.states.get(account, AccountState())

    def _now(self) -> datetime:
        """The database's time: what it was at the last look, carried on."""
        return self._known.at + timedelta(seconds=self._since_look())

    def _since_look(self) -> float:
        return 0.0 if math.isinf(self._looked_at) else self._monotonic() - self._looked_at

    def _budget(self, account: str) -> float:
        return self._quota_configs[account].budget(self._state(account), self._now())
