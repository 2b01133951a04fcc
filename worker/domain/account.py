"""How a Klarna account is doing, shared by all its payment sessions: may it be asked, and how.

It waits (`paused_until`), or is probed by one request at a time (after a refusal, or while its
reads fail), or is asked within its budget, which `quota` answers. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from worker.domain.schedule import backoff_ceiling
from worker.domain.session import NOTHING_SAID, ReadQuota

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
# A healthy read is noted this often at most: the row is shared by every poll of the account.
READ_NOTED_EVERY = timedelta(seconds=30)

# So many waves of failed reads, over so long, with no answer between: it is the account's way.
BREAKER_FAILURES = 5
BREAKER_AFTER = timedelta(seconds=2)
# A session that has failed so often in a row says nothing new of its account.
TELLING_FAILURES = 4
FIRST_PROBE = timedelta(seconds=1)
LONGEST_PROBE = timedelta(seconds=5)
# From a tenth of the budget to all of it.
RAMP = timedelta(seconds=10)
RAMP_FROM = 0.1

# Each 429 leaves this share of the budget, an answer that was the window's last one that; it then
# grows back: from nothing to all in so long.
CUT_TO = 0.7
CAREFUL_CUT_TO = 0.9
LEAST_SHARE = 0.05
GROWS_BACK_IN = timedelta(minutes=5)
# Of a spent window every answer tells; it is cut for once.
CUT_ONCE_IN = timedelta(seconds=1)
# An answer that names more, or no limit, ends one that was named, but not while they come mixed:
# the row is shared by every poll of the account.
LIMIT_KEPT_FOR = timedelta(seconds=5)


class Breaker(StrEnum):
    """Whether an account is asked by everybody, by one probe, or more and more again."""

    CLOSED = "closed"
    OPEN = "open"
    RAMPING = "ramping"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """Written only against the `version` it was read with, so a wave of failures counts once."""

    version: int = 0
    paused_until: datetime | None = None
    last_read_at: datetime | None = None
    # 401 and 403 in a row; 429 since the last healthy read.
    refusals: int = 0
    throttles: int = 0
    # Waves of reads that failed on the way, in a row.
    failures: int = 0
    failing_since: datetime | None = None
    recovered_at: datetime | None = None
    quota_share: float = 1.0
    quota_cut_at: datetime | None = None
    read_limit: float | None = None
    read_limit_at: datetime | None = None
    # Set by beat alone: every interval of the account is multiplied by it.
    interval_multiplier: float = 1.0

    def is_paused(self, now: datetime) -> bool:
        """Whether no request may be sent for this account."""
        return self.paused_until is not None and self.paused_until > now

    @property
    def is_broken(self) -> bool:
        """Whether its reads fail, one after the other."""
        return self.failures >= BREAKER_FAILURES

    @property
    def is_probed(self) -> bool:
        """Whether one request at a time stands for all."""
        return self.refusals > 0 or self.is_broken

    def breaker(self, now: datetime) -> Breaker:
        """How far the account is asked."""
        if self.is_probed:
            return Breaker.OPEN
        return Breaker.RAMPING if self.ramp(now) < 1 else Breaker.CLOSED

    def ramp(self, now: datetime) -> float:
        """The share of its budget that an account has which came back not long ago."""
        if self.recovered_at is None:
            return 1.0
        passed = (now - self.recovered_at) / RAMP
        return min(max(RAMP_FROM, RAMP_FROM + (1 - RAMP_FROM) * passed), 1.0)

    def share(self, now: datetime) -> float:
        """The share of its budget that 429s left, grown back since the last."""
        if self.quota_cut_at is None:
            return 1.0
        grown = max((now - self.quota_cut_at) / GROWS_BACK_IN, 0.0)
        return min(self.quota_share + grown, 1.0)

    # --- what an answer, or none, makes of it

    def read(self, now: datetime, said: ReadQuota = NOTHING_SAID) -> AccountState:
        """After a healthy read; the same object where there is nothing worth writing."""
        state = _noted(self.answered(now), said.limit, now)
        if said.remaining == 0:
            state = _cut(state, now, CAREFUL_CUT_TO)
        noted = self.last_read_at is not None and now - self.last_read_at < READ_NOTED_EVERY
        return self if state is self and noted else replace(state, last_read_at=now)

    def answered(self, now: datetime) -> AccountState:
        """After an answer to valid credentials, whatever it says; the same object if it was well.

        An account that was probed is asked more and more again, not by everybody at once.
        """
        if not (self.refusals or self.throttles or self.failures):
            return self
        well = replace(_reached(self), paused_until=None, refusals=0, throttles=0)
        return replace(well, recovered_at=now) if self.is_probed else well

    def refused(self, now: datetime) -> AccountState:
        """After a 401 or 403: pause 5 s, doubling, 5 min at most; then one probe at a time."""
        pause = min(FIRST_PAUSE * float(2 ** min(self.refusals, 10)), LONGEST_PAUSE)
        return _paused(replace(_reached(self), refusals=self.refusals + 1), now, pause)

    def throttled(self, now: datetime, retry_after: timedelta | None) -> AccountState:
        """After a 429: wait as long as Klarna asks, else back off; then ask for less."""
        throttles = self.throttles + 1
        wait = min(retry_after or backoff_ceiling(throttles), LONGEST_PAUSE)
        state = replace(_reached(self), throttles=throttles)
        return _paused(_cut(state, now, CUT_TO), now, wait)

    def failed(self, now: datetime, *, session_failures: int) -> AccountState:
        """After a read that failed on the way, of a session that had failed so often in a row.

        From the `BREAKER_FAILURES`-th on a probe follows after 1 s, doubling, 5 s at most.
        """
        if not self.is_probed and session_failures >= TELLING_FAILURES:
            return self
        since = self.failing_since or now
        failures = self.failures + 1
        if now - since < BREAKER_AFTER:
            failures = min(failures, BREAKER_FAILURES - 1)
        state = replace(self, failures=failures, failing_since=since)
        if not state.is_broken:
            return state
        probe = FIRST_PROBE * float(2 ** min(failures - BREAKER_FAILURES, 10))
        return _paused(state, now, min(probe, LONGEST_PROBE))


def _reached(state: AccountState) -> AccountState:
    if not state.failures:
        return state
    return replace(state, failures=0, failing_since=None)


def _paused(state: AccountState, now: datetime, wait: timedelta) -> AccountState:
    return replace(state, paused_until=max(now + wait, state.paused_until or now))


def _cut(state: AccountState, now: datetime, to: float) -> AccountState:
    if state.quota_cut_at is not None and now - state.quota_cut_at < CUT_ONCE_IN:
        return state
    left = max(state.share(now) * to, LEAST_SHARE)
    return replace(state, quota_share=left, quota_cut_at=now)


def _noted(state: AccountState, limit: float | None, now: datetime) -> AccountState:
    """The limit that answers name, written where it changed: at once where there is less of it."""
    known, known_at = state.read_limit, state.read_limit_at
    if limit == known:
        return state
    is_less = known is None or (limit is not None and limit < known)
    if not is_less and known_at is not None and now - known_at < LIMIT_KEPT_FOR:
        return state
    return replace(state, read_limit=limit, read_limit_at=now)
