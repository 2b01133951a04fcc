"""How many reads a second an account may have, and by what its intervals stretch to fit. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from worker.domain.account import AccountState

# Klarna docs, rate limits: reads a second, for each merchant id.
LIVE_LIMIT = 200.0
PLAYGROUND_LIMIT = 50.0
# So much of a second's budget may come at once: with the rest of that second it stays, at the
# usual share, below the limit, and a tick that is late by as much wastes nothing.
BURST_SECONDS = 0.25

# What cuts and ramps leave at least, where there is as much. A read counts by the budget it was
# taken from, and holds up the next by as long, however much the budget has grown meanwhile.
LEAST_BUDGET = 0.2

# Of an account that is probed, whatever its limit: two beats must not send a probe each.
PROBES = 1.0

LARGEST_INTERVAL_MULTIPLIER = 16.0
# Below what sessions wait for anyway, so that the budget never runs dry of polls to pay for.
MULTIPLY_BELOW = 0.9
# How far the stretch moves in one step, and how far apart steps are at least. It grows slowly: only
# load that lasts is worth it, and until then the most valuable come first all the same.
MULTIPLIER_UP = 1.02
MULTIPLIER_DOWN = 1.1
MULTIPLIER_STEP_EVERY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadQuotaConfig:
    """What a deployment grants itself of one account.

    `limit` is Klarna's, in reads a second; `fixed` says that the operator named it, so that an
    answer may lower it and not raise it. `share` is the worker's: the shop reads, too.
    """

    limit: float
    share: float
    fixed: bool = False

    def limit_of(self, account: AccountState) -> float:
        """Klarna's limit as far as it is known, in reads a second."""
        if account.read_limit is None:
            return self.limit
        return min(account.read_limit, self.limit) if self.fixed else account.read_limit

    def budget(self, account: AccountState, now: datetime) -> float:
        """The worker's reads a second, now."""
        if account.is_probed:
            return PROBES
        whole = self.limit_of(account) * self.share
        return max(whole * account.share(now) * account.ramp(now), min(whole, LEAST_BUDGET))


def usual_limit(base_url: str) -> float:
    """Klarna's documented limit where `base_url` leads to."""
    host = urlsplit(base_url).hostname or ""
    return PLAYGROUND_LIMIT if host.endswith(".playground.klarna.com") else LIVE_LIMIT


def burst(budget: float) -> int:
    """How many reads may leave at once, within a budget in reads a second."""
    return max(1, int(budget * BURST_SECONDS))


def next_interval_multiplier(stretch: float, strain: float | None) -> float:
    """Return the stretch after one step, a second or more after the last.

    `strain` is how many times its ideal interval the least valuable session had waited that the
    budget still paid for: what the load stretches to by itself, since the most valuable come first.
    None: nobody waited. Following it from below, the stretch takes the waiting off the queue and
    cannot leave the budget idle; where no stretch helps, as at the longest interval, it changes
    nothing of the strain and so does not run away.
    """
    goal = (
        1.0
        if strain is None
        else min(max(strain * MULTIPLY_BELOW, 1.0), LARGEST_INTERVAL_MULTIPLIER)
    )
    return min(max(goal, stretch / MULTIPLIER_DOWN), stretch * MULTIPLIER_UP)
