"""The ports to stored payment sessions, and the shapes that cross them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from worker.domain.account import AccountState
from worker.domain.decision import Decision
from worker.domain.errors import TrackError
from worker.domain.session import Kind, PaymentSession
from worker.domain.tracking import TrackEffect, TrackRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class PollTask:
    """Claimed payment sessions of one account, polled by the holder of `lease_id`.

    `lateness_ratio` is the lowest of them: the time since the last read over the ideal interval.
    """

    account: str
    lease_id: UUID
    session_ids: tuple[str, ...]
    lateness_ratio: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """The effect or the error of each request, and the polls whose leases were taken."""

    effects: list[TrackEffect | TrackError]
    polls: list[PollTask]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLimits:
    """How much one account may have under way, and how long a lease lasts."""

    lease: timedelta
    sessions_in_flight: int
    tasks_in_flight: int
    sessions_per_task: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedSession:
    """A loaded payment session with the lease that recording it requires."""

    session: PaymentSession
    account: AccountState
    lease_id: UUID
    loaded_at: datetime
    trace_parent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A decision that was written; `nudged`: the lease was kept, poll again at once.

    `account_recorded`: the account's row was written, too. It is not where another poll was first.
    """

    nudged: bool
    account_recorded: bool = field(default=False, compare=False)


class SessionUrls(Protocol):
    """Where a session is read if the shop gave no URL."""

    def __call__(self, account: str, kind: Kind, session_id: str) -> str:
        """Return the documented URL."""


class Sessions(Protocol):
    """Payment sessions and their leases. All methods raise UnavailableError."""

    async def track(
        self, requests: Sequence[TrackRequest], session_urls: SessionUrls, limits: ClaimLimits
    ) -> Tracked:
        """Insert or apply each, and take the leases of their next polls, in one transaction.

        A request that fails, as by contradicting what is stored, does not affect the others.
        """

    async def claim(
        self,
        account: str,
        *,
        tasks: int,
        limits: ClaimLimits,
        available: int | None = None,
        urgent_first: bool = False,
    ) -> list[PollTask]:
        """Lease the account's due sessions to at most `tasks` tasks, most valuable first.

        At most `available` sessions, if given. `urgent_first`: first those closest to losing a
        token that was not read yet, or closest to their end.
        """

    async def load(
        self, session_ids: Sequence[str], lease_id: UUID, *, lease: timedelta
    ) -> list[LeasedSession]:
        """Return the sessions still held under `lease_id`, with renewed leases under a new id.

        A second delivery of the same task therefore finds nothing.
        """

    async def record(self, leased: LeasedSession, decision: Decision) -> Recorded | None:
        """Write the decision with its transition, events and deliveries; None: lease lost."""

    async def release(self, session_ids: Collection[str], lease_ids: Collection[UUID]) -> None:
        """Release leases: their sessions are due at once."""

    async def hold(
        self, session_ids: Collection[str], lease_ids: Collection[UUID], *, lease: timedelta
    ) -> None:
        """Let leases run out after `lease`: until then nobody claims their sessions."""

    async def next_due_in(self, accounts: Collection[str]) -> timedelta | None:
        """Return how long until the next open session is due, or None."""

    async def overdue_ends(self, *, max_lifetime: timedelta, limit: int) -> list[LeasedSession]:
        """Lease sessions that ended more than a day ago and could not be read, to give them up."""


class SessionLookup(Protocol):
    """Payment sessions by id. Raises UnavailableError."""

    async def find(self, session_id: str) -> PaymentSession | None:
        """Return the payment session without its token; None if it is not tracked."""
