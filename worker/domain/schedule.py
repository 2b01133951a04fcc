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
# Healthy polls spread by ±10 %; full jitter would cost a third more delay at the same rate.
JITTER_SHARE = 0.1
# Longer intervals spread by no more: most requests are spent at the cap, and an earlier one there
# is one more. This is enough that not everybody comes at once.
LONGEST_JITTER = timedelta(seconds=15)
# Any open status may be followed by COMPLETED: the shop needs this much of its token's life.
LEFT_OF_TOKEN = timedelta(minutes=20)
LONGEST_INTERVAL = AUTHORIZATION_LIFETIME - LEFT_OF_TOKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class PollLimits:
    """How a deployment polls: its policy, and the bounds it sets; all durations."""

    policy: PollPolicy
    expiry_grace: timedelta = timedelta(seconds=30)
    max_interval: timedelta = timedelta(minutes=40)
    max_lifetime: timedelta = timedelta(hours=48)
    # Not of polling: whether the shop confirms its orders, so that a missing one is told.
    confirmation_expected: bool = True


def next_poll_at(
    status: str,
    *,
    since: datetime,
    now: datetime,
    final_read_at: datetime,
    jitter: float,
    limits: PollLimits,
    interval_multiplier: float = 1.0,
) -> datetime:
    """Return when to read a payment session again that is `status` since `since`.

    `interval_multiplier` lengthens the policy's interval if the account's load exceeds its budget.
    Whatever policy and multiplier are: never later than `limits.max_interval` from now, nor so late
    that a token would have less than `LEFT_OF_TOKEN` to live, jitter included; and while
    `final_read_at` (expiry plus grace) lies ahead, never past it, so that a read falls there.
    """
    age = max((now - since).total_seconds(), 0.0)
    wait = limits.policy.interval(status, age) * interval_multiplier
    longest = min(limits.max_interval, LONGEST_INTERVAL)
    # Capped before it is spread: at the cap, too, not everybody comes at once.
    spare = min(longest * (JITTER_SHARE / (1 + JITTER_SHARE)), LONGEST_JITTER)
    capped = timedelta(seconds=min(wait, (longest - spare).total_seconds()))
    spread = min(capped * JITTER_SHARE, LONGEST_JITTER)
    at = now + min(capped + spread * (2 * jitter - 1), longest)
    return _not_past(final_read_at, at, now=now)


def ideal_interval(status: str, *, since: datetime, now: datetime, limits: PollLimits) -> float:
    """Return the seconds to the next read that the policy alone wants, an hour or two at most.

    What a read is worth goes by how many times as long the session has waited. Beyond the longest
    interval the law is followed so far and no further: a session of little hope is read at last.
    """
    age = max((now - since).total_seconds(), 0.0)
    least_hope = 2 * LONGEST_INTERVAL.total_seconds()
    return min(limits.policy.ideal_interval(status, age), least_hope)


def retry_at(
    failures: int, *, now: datetime, final_read_at: datetime, jitter: float, limits: PollLimits
) -> datetime:
    """Return when to try again after the `failures`-th failure in a row: full jitter."""
    wait = min(backoff_ceiling(failures), limits.max_interval) * jitter
    return _not_past(final_read_at, now + wait, now=now)


def backoff_ceiling(failures: int) -> timedelta:
    """The longest wait after the `failures`-th failure in a row: 1 s, doubling, 5 min at most."""
    return min(FIRST_BACKOFF * float(2 ** min(max(failures, 1) - 1, 20)), LONGEST_BACKOFF)


def _not_past(final_read_at: datetime, at: datetime, *, now: datetime) -> datetime:
    return min(at, final_read_at) if now < final_read_at else at
