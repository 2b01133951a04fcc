"""The decision that a poll leads to, before it is recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from worker.domain.account import AccountState
from worker.domain.events import Event
from worker.domain.session import PaymentSession, Transition


class Finding(StrEnum):
    """The result of a poll as one word, for logs and metrics."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    STALE = "stale"
    FINISHED = "finished"
    FAILED = "failed"
    # Anomalies: finished, but a person should look at it.
    FINISHED_BY_OLDER_ANSWER = "finished_by_older_answer"
    COMPLETED_EMPTY = "completed_empty"
    COMPLETED_WHILE_OPEN = "completed_while_open"
    GAVE_UP = "session_abandoned"
    # An anomaly of an open session: proof of payment under a documented open status, first seen.
    PROOF_KEPT = "proof_kept"


ANOMALIES = frozenset(
    {
        Finding.COMPLETED_EMPTY,
        Finding.COMPLETED_WHILE_OPEN,
        Finding.FINISHED_BY_OLDER_ANSWER,
        Finding.GAVE_UP,
        Finding.PROOF_KEPT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to record: the session afterwards, its status transition, and the shop's events.

    The decision was made with `account_before`. The account's row is written only if `account`
    differs from it.
    """

    session: PaymentSession
    account_before: AccountState
    account: AccountState
    finding: Finding
    decided_at: datetime
    transition: Transition | None = None
    events: tuple[Event, ...] = field(default=())

    @property
    def is_unchanged(self) -> bool:
        """Whether only the schedule changed: recording it need not be durable at once."""
        return (
            self.transition is None
            and self.session.outcome is None
            and self.finding is not Finding.PROOF_KEPT
        )
