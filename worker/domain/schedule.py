"""When a payment session is read next: the policy's interval within every hard limit.

Pure: time and chance are arguments; `jitter` is drawn from [0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.domain.policy import PollPolicy
from worker.domain.session import AUTHORIZATION_LIFETIME

FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(minutes=5)
# Jitter of healthy polls: ±10 %. Full jitter would cost a third more delay at the same rate.
JITTER_SHARE = 0.1
# The largest jitter. Most requests are sent at the longest interval: more jitter there would cost
# more of them, and this much is enough to spread them.
LONGEST_JITTER = timedelta(seconds=15)
# Every open status may become COMPLETED. This much of the token's lifetime is for the shop.
LEFT_OF_TOKEN = timedelta(minutes=20)
LONGEST_INTERVAL = AUTHORIZATION_LIFETIME - LEFT_OF_TOKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class PollLimits:
    """A deployment's polling policy and its limits; all durations."""

    policy: PollPolicy
    expiry_grace: timedelta = timedelta(seconds=30)
    max_interval: timedelta = timedelta(minutes=40)
    max_lifetime: timedelta = timedelta(hours=48)
    # Not about polling: whether the shop confirms its orders, so that it is warned of missing ones.
    confirmation_expected: bool = True


def next_poll_at(  # a pure decision takes all that it depends on
    status: str,
    *,
    since: datetime,
    now: datetime,
    final_read_at: datetime,
    jitter: float,
    limits: PollLimits,
    interval_multiplier: float = 1.0,
) -> datetime:
    """Return when to read a payment session again that has had `status` since `since`.

    `interval_multiplier` lengthens the policy's interval if the account's load exceeds its budget.
    The result is never later than `limits.max_interval` from now, nor so late that a token could
    have less than `LEFT_OF_TOKEN` left, including jitter. Before `final_read_at` (expiry plus
    grace) it is never after it, so that there is a read at that time.
    """
    age = max((now - since).total_seconds(), 0.0)
    wait = limits.policy.interval(status, age) * interval_multiplier
    longest = min(limits.max_interval, LONGEST_INTERVAL)
    # The cap comes before the jitter, so that reads at the cap are spread, too.
    spare = min(longest * (JITTER_SHARE / (1 + JITTER_SHARE)), LONGEST_JITTER)
    capped = timedelta(seconds=min(wait, (longest - spare).total_seconds()))
    spread = min(capped * JITTER_SHARE, LONGEST_JITTER)
    at = now + min(capped + spread * (2 * jitter - 1), longest)
    return _not_past(final_read_at, at, now=now)


def ideal_interval(status: str, *, since: datetime, now: datetime, limits: PollLimits) -> float:
    """Return the seconds to the next read by the policy alone, at most twice the longest interval.

    Claims are ordered by the time that a session has waited over this interval. Because of the
    limit a session with little chance to complete is read, too.
    """
    age = max((now - since).total_seconds(), 0.0)
    return min(limits.policy.ideal_interval(status, age), 2 * LONGEST_INTERVAL.total_seconds())


def retry_at(
    failures: int, *, now: datetime, final_read_at: datetime, jitter: float, limits: PollLimits
) -> datetime:
    """Return when to retry after the `failures`-th failure in a row, with full jitter."""
    wait = min(backoff_ceiling(failures), limits.max_interval) * jitter
    return _not_past(final_read_at, now + wait, now=now)


def backoff_ceiling(failures: int) -> timedelta:
    """Return the longest wait after `failures` failures in a row: 1 s, doubled, at most 5 min."""
    return min(FIRST_BACKOFF * float(2 ** min(max(failures, 1) - 1, 20)), LONGEST_BACKOFF)


def _not_past(final_read_at: datetime, at: datetime, *, now: datetime) -> datetime:
    return min(at, final_read_at) if now < final_read_at else at
