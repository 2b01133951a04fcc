"""The state of a Klarna account, shared by all its payment sessions: whether reads may be sent.

An account is paused (`paused_until`), or probed with one request at a time (after a 401 or 403, or
while its reads fail), or read within its budget (see `quota`). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from worker.domain.schedule import backoff_ceiling
from worker.domain.session import NOTHING_SAID, ReadQuota

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
# A healthy read is stored at most this often: all polls of the account share the row.
READ_STORED_EVERY = timedelta(seconds=30)

# The breaker opens after this many waves of failed reads, over at least this time, without an
# answer in between.
BREAKER_FAILURES = 5
BREAKER_AFTER = timedelta(seconds=2)
# Only the first failures in a row of a session count for its account: one that always fails says
# nothing about the others.
COUNTED_FAILURES = 4
FIRST_PROBE = timedelta(seconds=1)
LONGEST_PROBE = timedelta(seconds=5)
# After an outage the budget grows from a tenth to all of it in this time.
RAMP = timedelta(seconds=10)
RAMP_FROM = 0.1

# What a 429 leaves of the budget, and what an answer leaves that used up Klarna's window. The
# budget then grows back; from zero it would take GROWS_BACK_IN.
CUT_TO = 0.7
CAREFUL_CUT_TO = 0.9
LEAST_SHARE = 0.05
GROWS_BACK_IN = timedelta(minutes=5)
# All answers in a used-up window say so; the budget is cut once for them.
CUT_ONCE_IN = timedelta(seconds=1)
# An answer with a higher limit, or none, replaces a known limit only after this time: answers may
# differ for a while, and all polls of the account share the row.
LIMIT_KEPT_FOR = timedelta(seconds=5)


class Breaker(StrEnum):
    """Closed: normal reads. Open: one probe at a time. Ramping: a growing part of the budget."""

    CLOSED = "closed"
    OPEN = "open"
    RAMPING = "ramping"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """Written only if `version` is unchanged, so that concurrent failures count once."""

    version: int = 0
    paused_until: datetime | None = None
    last_read_at: datetime | None = None
    # 401 and 403 in a row; 429 since the last healthy read.
    refusals: int = 0
    throttles: int = 0
    # Waves of reads in a row that got no answer, or a 5xx.
    failures: int = 0
    # Since when reads have been refused or have failed.
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
        """Whether its reads keep failing."""
        return self.failures >= BREAKER_FAILURES

    @property
    def is_failing(self) -> bool:
        """Whether its latest read was refused, or failed."""
        return self.refusals > 0 or self.failures > 0

    @property
    def is_probed(self) -> bool:
        """Whether only one request at a time may be sent."""
        return self.refusals > 0 or self.is_broken

    def breaker(self, now: datetime) -> Breaker:
        """Return the state of the circuit breaker."""
        if self.is_probed:
            return Breaker.OPEN
        return Breaker.RAMPING if self.ramp(now) < 1 else Breaker.CLOSED

    def ramp(self, now: datetime) -> float:
        """Return the part of the budget that an account may use after an outage."""
        if self.recovered_at is None:
            return 1.0
        passed = (now - self.recovered_at) / RAMP
        return min(max(RAMP_FROM, RAMP_FROM + (1 - RAMP_FROM) * passed), 1.0)

    def share(self, now: datetime) -> float:
        """Return the part of the budget after 429s, grown back since the last one."""
        if self.quota_cut_at is None:
            return 1.0
        grown = max((now - self.quota_cut_at) / GROWS_BACK_IN, 0.0)
        return min(self.quota_share + grown, 1.0)

    # --- the next state

    def read(self, now: datetime, said: ReadQuota = NOTHING_SAID) -> AccountState:
        """Return the state after a healthy read; the same object if nothing needs to be stored."""
        state = _with_limit(self.answered(now), said.limit, now)
        if said.remaining == 0:
            state = _cut(state, now, CAREFUL_CUT_TO)
        stored = self.last_read_at is not None and now - self.last_read_at < READ_STORED_EVERY
        return self if state is self and stored else replace(state, last_read_at=now)

    def answered(self, now: datetime) -> AccountState:
        """Return the state after an answer to valid credentials; the same object if it was healthy.

        A probed account ramps up: its sessions are not all read at once.
        """
        if not (self.refusals or self.throttles or self.failures):
            return self
        well = replace(
            self, paused_until=None, refusals=0, throttles=0, failures=0, failing_since=None
        )
        return replace(well, recovered_at=now) if self.is_probed else well

    def refused(self, now: datetime) -> AccountState:
        """Return the state after a 401 or 403: paused 5 s, doubling, at most 5 min; then probed."""
        pause = min(FIRST_PAUSE * float(2 ** min(self.refusals, 10)), LONGEST_PAUSE)
        since = self.failing_since if self.refusals else None
        state = replace(_reached(self), refusals=self.refusals + 1, failing_since=since or now)
        return _paused(state, now, pause)

    def throttled(self, now: datetime, retry_after: timedelta | None) -> AccountState:
        """Return the state after a 429: paused as Klarna asks, or by backoff; the budget is cut."""
        throttles = self.throttles + 1
        wait = min(retry_after or backoff_ceiling(throttles), LONGEST_PAUSE)
        state = replace(_reached(self), throttles=throttles)
        return _paused(_cut(state, now, CUT_TO), now, wait)

    def failed(self, now: datetime, *, session_failures: int) -> AccountState:
        """Return the state after a read without an answer, or with a 5xx.

        `session_failures` is how often in a row the session had failed before. From the
        `BREAKER_FAILURES`-th wave on a probe follows after 1 s, doubling, at most 5 s.
        """
        if not self.is_probed and session_failures >= COUNTED_FAILURES:
            return self
        since = (self.failing_since if self.is_failing else None) or now
        failures = self.failures + 1
        if now - since < BREAKER_AFTER:
            failures = min(failures, BREAKER_FAILURES - 1)
        state = replace(self, failures=failures, failing_since=since)
        if not state.is_broken:
            return state
        probe = FIRST_PROBE * float(2 ** min(failures - BREAKER_FAILURES, 10))
        return _paused(state, now, min(probe, LONGEST_PROBE))


def _reached(state: AccountState) -> AccountState:
    """Return the state after an answer; refusals end only with an answer to valid credentials."""
    if not state.failures:
        return state
    return replace(state, failures=0, failing_since=state.failing_since if state.refusals else None)


def _paused(state: AccountState, now: datetime, wait: timedelta) -> AccountState:
    return replace(state, paused_until=max(now + wait, state.paused_until or now))


def _cut(state: AccountState, now: datetime, to: float) -> AccountState:
    if state.quota_cut_at is not None and now - state.quota_cut_at < CUT_ONCE_IN:
        return state
    left = max(state.share(now) * to, LEAST_SHARE)
    return replace(state, quota_share=left, quota_cut_at=now)


def _with_limit(state: AccountState, limit: float | None, now: datetime) -> AccountState:
    """Store a changed limit of an answer: a lower one at once, a higher one after a while."""
    known, known_at = state.read_limit, state.read_limit_at
    if limit == known:
        return state
    is_less = known is None or (limit is not None and limit < known)
    if not is_less and known_at is not None and now - known_at < LIMIT_KEPT_FOR:
        return state
    return replace(state, read_limit=limit, read_limit_at=now)
