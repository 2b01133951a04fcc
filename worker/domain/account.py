"""How a Klarna account is doing: paused, slowed, healthy; shared by all its payment sessions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.schedule import backoff_ceiling

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
# A healthy read is noted this often at most: the row is shared by every poll of the account.
READ_NOTED_EVERY = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """Written only against the `version` it was read with, so a wave of refusals counts once."""

    version: int = 0
    paused_until: datetime | None = None
    refusals: int = 0
    throttles: int = 0
    last_read_at: datetime | None = None

    def is_paused(self, now: datetime) -> bool:
        """Whether no request may be sent for this account."""
        return self.paused_until is not None and self.paused_until > now

    def refused(self, now: datetime) -> AccountState:
        """After a 401 or 403: pause 5 s, doubling, 5 min at most; then one probe at a time."""
        pause = min(FIRST_PAUSE * float(2 ** min(self.refusals, 10)), LONGEST_PAUSE)
        until = max(now + pause, self.paused_until or now)
        return replace(self, paused_until=until, refusals=self.refusals + 1)

    def throttled(self, now: datetime, retry_after: timedelta | None) -> AccountState:
        """After a 429: wait as long as Klarna asks, else back off."""
        throttles = self.throttles + 1
        wait = min(retry_after or backoff_ceiling(throttles), LONGEST_PAUSE)
        until = max(now + wait, self.paused_until or now)
        return replace(self, paused_until=until, throttles=throttles)

    def read(self, now: datetime) -> AccountState:
        """After a healthy read; the same object where there is nothing worth writing."""
        noted = self.last_read_at is not None and now - self.last_read_at < READ_NOTED_EVERY
        if noted and not self.refusals and not self.throttles:
            return self
        return replace(self, paused_until=None, refusals=0, throttles=0, last_read_at=now)
