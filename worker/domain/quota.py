"""An account's read budget and interval multiplier. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from worker.domain.account import AccountState

# Klarna docs, rate limits: reads a second, for each merchant id.
LIVE_LIMIT = 200.0
PLAYGROUND_LIMIT = 50.0
# How many seconds' worth of the budget may be sent at once. With the rest of the second it stays
# below Klarna's limit, at the default share, and a tick that is late by this much wastes nothing.
BURST_SECONDS = 0.25

# The smallest budget after cuts and during a ramp. A read delays the next by the budget it was
# acquired from, even if the budget has grown since: a smaller one would block the account for long.
LEAST_BUDGET = 0.2

# The budget of an account that is probed, whatever its limit: two beats must not send a probe each.
PROBES = 1.0

LARGEST_INTERVAL_MULTIPLIER = 16.0
# Below the lateness that sessions have anyway, so that the budget never waits for due sessions.
MULTIPLY_BELOW = 0.9
# The largest change in one step; steps are this far apart. It grows slowly, so that only a
# lasting load counts. Until then the most valuable sessions are still read first.
MULTIPLIER_UP = 1.02
MULTIPLIER_DOWN = 1.1
MULTIPLIER_STEP_EVERY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadQuotaConfig:
    """The read quota of one account, as configured.

    `limit` is Klarna's, in reads a second. `fixed`: the operator set it, so that Klarna's answers
    may lower it but not raise it. `share` is the worker's part: the shop sends reads, too.
    """

    limit: float
    share: float
    fixed: bool = False

    def limit_of(self, account: AccountState) -> float:
        """Klarna's limit in reads a second, by the latest answers."""
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
    """Return Klarna's documented limit for `base_url`, in reads a second."""
    host = urlsplit(base_url).hostname or ""
    return PLAYGROUND_LIMIT if host.endswith(".playground.klarna.com") else LIVE_LIMIT


def burst(budget: float) -> int:
    """Return how many reads may be sent at once, for a budget in reads a second."""
    return max(1, int(budget * BURST_SECONDS))


def next_interval_multiplier(multiplier: float, lateness_ratio: float | None) -> float:
    """Return the interval multiplier after one step, a second or more after the last.

    `lateness_ratio` is the lowest of the sessions that were claimed: the time since the last read
    over the ideal interval. The most valuable sessions are claimed first, so it is how much the
    load lengthens intervals by itself. None: no session waited for the budget.

    The multiplier follows the ratio from below. It shortens the queue and cannot leave the budget
    unused. Where longer intervals do not help, as at the longest one, the ratio does not change and
    the multiplier stops growing.
    """
    goal = 1.0
    if lateness_ratio is not None:
        goal = min(max(lateness_ratio * MULTIPLY_BELOW, 1.0), LARGEST_INTERVAL_MULTIPLIER)
    return min(max(goal, multiplier / MULTIPLIER_DOWN), multiplier * MULTIPLIER_UP)
