"""What a poll comes to: the shape of a decision, before anything of it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from worker.domain.account import AccountState
from worker.domain.events import Event
from worker.domain.session import PaymentSession, Transition


class Finding(StrEnum):
    """What a poll found, as one word for logs and counters."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    STALE = "stale"
    FINISHED = "finished"
    FAILED = "failed"
    # Anomalies: finished, and worth somebody's attention.
    FINISHED_BY_OLDER_ANSWER = "finished_by_older_answer"
    COMPLETED_EMPTY = "completed_empty"
    GAVE_UP = "session_abandoned"


ANOMALIES = frozenset({Finding.COMPLETED_EMPTY, Finding.FINISHED_BY_OLDER_ANSWER, Finding.GAVE_UP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to record: the session afterwards, what happened to it, and what to tell the shop.

    `account` differs from `account_before`, which the decision was made on, only where the
    account's row is to be written.
    """

    session: PaymentSession
    account_before: AccountState
    account: AccountState
    finding: Finding
    decided_at: datetime
    transition: Transition | None = None
    events: tuple[Event, ...] = field(default=())

    @property
    def is_quiet(self) -> bool:
        """Nothing happened that must be durable at once: only the schedule moved."""
        return self.transition is None and self.session.outcome is None
