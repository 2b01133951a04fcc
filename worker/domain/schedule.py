"""When a payment session is read next: the one place that holds the polling policy.

Pure: time and chance are arguments; `jitter` is drawn from [0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

FLOOR = timedelta(seconds=2)
FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(minutes=5)
# Healthy polls spread by ±10 %; full jitter would cost a third more delay at the same rate.
JITTER_SHARE = 0.1

# The next read comes after this share of the status's age: reads thin out as hope fades.
# A consumer on the page is worth more reads than one who was declined or went back.
_SHARE_OF_AGE = {
    "WAITING": 0.10,
    "IN_PROGRESS": 0.08,
    "incomplete": 0.10,
}
_SHARE_OF_AGE_OTHERWISE = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class PollLimits:
    """The bounds a deployment sets; all durations."""

    expiry_grace: timedelta = timedelta(seconds=30)
    max_interval: timedelta = timedelta(minutes=40)
    max_lifetime: timedelta = timedelta(hours=48)


def next_poll_at(
    status: str,
    *,
    since: datetime,
    now: datetime,
    final_read_at: datetime,
    jitter: float,
    limits: PollLimits,
) -> datetime:
    """Answer when to read a payment session again that is `status` since `since`.

    Never later than `limits.max_interval` from now, jitter included; and while `final_read_at`
    (expiry plus grace) lies ahead, never past it, so that a read falls there.
    """
    age = max(now - since, timedelta(0))
    interval = max(FLOOR, age * _SHARE_OF_AGE.get(status, _SHARE_OF_AGE_OTHERWISE))
    # Capped before it is spread: at the cap, too, not everybody comes at once.
    capped = min(interval, limits.max_interval / (1 + JITTER_SHARE))
    spread = 1 - JITTER_SHARE + 2 * JITTER_SHARE * jitter
    return _not_past(final_read_at, now + capped * spread, now=now)


def retry_at(
    failures: int, *, now: datetime, final_read_at: datetime, jitter: float, limits: PollLimits
) -> datetime:
    """Answer when to try again after the `failures`-th failure in a row: full jitter."""
    wait = min(backoff_ceiling(failures), limits.max_interval) * jitter
    return _not_past(final_read_at, now + wait, now=now)


def backoff_ceiling(failures: int) -> timedelta:
    """The longest wait after the `failures`-th failure in a row: 1 s, doubling, 5 min at most."""
    return min(FIRST_BACKOFF * float(2 ** min(max(failures, 1) - 1, 20)), LONGEST_BACKOFF)


def _not_past(final_read_at: datetime, at: datetime, *, now: datetime) -> datetime:
    return min(at, final_read_at) if now < final_read_at else at
