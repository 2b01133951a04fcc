"""What the services need of the outside world, as protocols, and the shapes that cross them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from worker.domain.account import AccountState
from worker.domain.confirmation import ConfirmEffect
from worker.domain.decision import Decision
from worker.domain.deliveries import Refusal, RetryDecision, RetrySchedule
from worker.domain.errors import TrackError
from worker.domain.events import Event
from worker.domain.session import Kind, Observation, PaymentSession
from worker.domain.tracking import TrackEffect, TrackRequest
from worker.services.meter import Backlog


class UnavailableError(Exception):
    """The database or the broker is away for now: try again later. Carries no secret."""


class UnstorableTextError(Exception):
    """The database's encoding has no place for a character of what was to be stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollTask:
    """Claimed payment sessions of one account, polled by whoever holds `lease_id`.

    `strain` is how many times its ideal interval the least valuable of them had waited.
    """

    account: str
    lease_id: UUID
    session_ids: tuple[str, ...]
    strain: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What `track` did for each request, or its fault, and the polls whose leases it took."""

    effects: list[TrackEffect | TrackError]
    polls: list[PollTask]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLimits:
    """How much one account may have under way, and for how long a claim holds."""

    lease: timedelta
    sessions_in_flight: int
    tasks_in_flight: int
    sessions_per_task: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedSession:
    """A loaded payment session with the lease that its record must still hold."""

    session: PaymentSession
    account: AccountState
    lease_id: UUID
    loaded_at: datetime
    trace_parent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A decision that was written; `nudged`: the lease was kept, poll again at once.

    `account_noted`: what it makes of the account was written, too; another answer may be first.
    """

    nudged: bool
    account_noted: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsRead:
    """How accounts are doing, by name, and when that was, by the database's clock."""

    states: Mapping[str, AccountState]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One outbox message claimed for one sink; `attempts` counts this try and is its lease."""

    event_id: UUID
    sink: str
    session_id: str
    attempts: int
    # How long it has been tried, by the database's clock.
    age: timedelta
    envelope: dict[str, Any]
    encrypted_token: bytes | None = field(default=None, repr=False)
    trace_parent: str | None = None


class Sessions(Protocol):
    """Payment sessions and their leases. All methods raise UnavailableError."""

    async def track(
        self, requests: Sequence[TrackRequest], session_urls: SessionUrls, limits: ClaimLimits
    ) -> Tracked:
        """Insert or apply each, and take the leases of their next polls, in one transaction.

        What is at fault, such as by contradicting what is stored, keeps no other from being stored.
        """

    async def claim(
        self,
        account: str,
        *,
        tasks: int,
        limits: ClaimLimits,
        room: int | None = None,
        urgent_first: bool = False,
    ) -> list[PollTask]:
        """Lease the account's due sessions to at most `tasks` tasks, most valuable first.

        At most `room`, where it is given. `urgent_first`: first of all those nearest to losing a
        token that was not seen yet, or to their end.
        """

    async def load(
        self, session_ids: Sequence[str], lease_id: UUID, *, lease: timedelta
    ) -> list[LeasedSession]:
        """Return the sessions still held under `lease_id`, their leases renewed under a new id.

        So of several deliveries of one task only the first finds anything.
        """

    async def record(self, leased: LeasedSession, decision: Decision) -> Recorded | None:
        """Write the decision with its transition, events and deliveries; None: lease lost."""

    async def release(self, session_ids: Collection[str], lease_ids: Collection[UUID]) -> None:
        """Give leases back: their sessions are due at once."""

    async def next_due_in(self, accounts: Collection[str]) -> timedelta | None:
        """Return how long until the next open session is due, or None."""

    async def overdue_ends(self, *, max_lifetime: timedelta, limit: int) -> list[LeasedSession]:
        """Lease sessions whose end lies more than a day back, for giving them up unread."""


class Accounts(Protocol):
    """How accounts are doing, as all processes share it. All methods raise UnavailableError."""

    async def read(self, names: Collection[str]) -> AccountsRead:
        """Return the state of each; one that was never read is as new."""

    async def stretch(self, name: str, *, before: float, after: float) -> bool:
        """Set the stretch of every interval, once a second at most; False: another was first."""


class Quota(Protocol):
    """Reads that all processes together may send, by account; never raises, never waits long.

    `budget` is in reads a second. With the counting server away, each process goes by a share.
    """

    async def room(self, account: str, budget: float) -> int:
        """Return how many reads may be sent now; takes none of them."""

    async def take(self, account: str, budget: float, count: int) -> int:
        """Take up to `count` reads; returns how many were left to take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentToken:
    """An authorization token that was erased; `undelivered`: some sink never got it in time."""

    session_id: str
    undelivered: bool


class Tokens(Protocol):
    """Stored authorization tokens. Raises UnavailableError."""

    async def erase_spent(self, *, limit: int) -> list[SpentToken]:
        """Erase tokens whose time is over; returns whose they were."""


class SessionLookup(Protocol):
    """Payment sessions as they are stored. Raises UnavailableError."""

    async def find(self, session_id: str) -> PaymentSession | None:
        """Return the payment session without its token, None where nobody follows it."""


class BulkTracking(Protocol):
    """Many payment sessions at a time. Raises UnavailableError."""

    async def track(
        self, requests: Sequence[TrackRequest], session_urls: SessionUrls
    ) -> list[TrackEffect | TrackError]:
        """Insert or correct in one transaction; returns for each what it did, or its fault.

        A known session that a request says nothing new of is UNCHANGED, and not nudged.
        """


class Confirmations(Protocol):
    """Orders placed with authorizations, and those still missing. Both raise UnavailableError."""

    async def confirm(self, session_id: str, order_id: str) -> ConfirmEffect:
        """Note the order that was placed, and stop the clock; keep it where it comes early.

        Raises:
            ConflictError: another order was confirmed before.
        """

    async def apply_early(self, *, limit: int) -> list[str]:
        """Apply confirmations that missed the moment their session was stored; returns whose."""

    async def warn_due(self, *, limit: int) -> list[Event]:
        """Write the warnings that are due, each once whoever asks at the same time."""

    async def stop_due_clocks(self, *, limit: int) -> int:
        """Forget the warnings that are due, and those after them; returns of how many sessions."""


class BacklogRead(Protocol):
    """What the database holds for somebody to do. Raises UnavailableError."""

    async def read(self) -> Backlog:
        """Return what there is now."""


class Purge(Protocol):
    """Deleting what nobody needs any more. Raises UnavailableError."""

    async def delete_finished(self, *, older_than: timedelta, limit: int) -> int:
        """Delete finished sessions with no message on its way to a sink; returns how many.

        A message is on its way unless it is delivered or dead, or its sink disabled or not there.
        """


class SessionUrls(Protocol):
    """Where sessions are read when the shop did not say."""

    def __call__(self, account: str, kind: Kind, session_id: str) -> str:
        """Return the documented URL."""


class Klarna(Protocol):
    """Klarna's read of one payment session."""

    async def read(self, session: PaymentSession) -> Observation:
        """Return what Klarna says now.

        Raises:
            ObservationError: in every other case.
        """


class Publisher(Protocol):
    """Task messages to the workers. All methods raise UnavailableError."""

    async def send_polls(self, tasks: Sequence[PollTask]) -> None:
        """Send one poll task per entry, in one batch."""

    async def send_relay(self, session_ids: Sequence[str]) -> None:
        """Send one relay task for the events of these payment sessions."""

    async def waiting(self) -> dict[str, int]:
        """Return how many messages wait in the queues `tracks`, `polls` and `events`."""


class Outbox(Protocol):
    """Outbox messages on their way to sinks. All methods raise UnavailableError."""

    async def claim(
        self,
        session_ids: Collection[str],
        sinks: Collection[str],
        *,
        lease: timedelta,
        limit: int | None = None,
    ) -> list[Delivery]:
        """Claim each session's oldest undelivered message per sink, where its time has come.

        At most `limit`. Nothing for a sink that is disabled or asked for a pause.
        """

    async def mark_delivered(self, delivery: Delivery) -> bool:
        """Note that the sink has it; returns whether its session has more for that sink."""

    async def mark_failed(self, delivery: Delivery, *, error: str, fate: RetryDecision) -> None:
        """Note the error and what comes of it, for the delivery and for its sink."""

    async def due_sessions(self, limits: Mapping[str, int]) -> list[str]:
        """Return payment sessions whose oldest undelivered message is due.

        `limits` names the sinks, and how many sessions at most each may fill the answer with.
        """

    async def generation(self, stream: str) -> str | None:
        """Return the generation mark that the stream was last given."""

    async def renew_generation(
        self, stream: str, sink: str, *, old: str | None, new: str, since: timedelta
    ) -> bool:
        """Set the mark from `old` to `new`; what was delivered within `since` is to be sent again.

        Returns whether this call did it: another process may have been first.
        """

    async def redeliver(self, stream: str, sink: str, *, limit: int) -> int:
        """Make some of what is to be sent again due; returns how many, 0 when all is done."""


class DeliveryError(Exception):
    """A sink did not take an event; the text is safe to store.

    `asked` is how long the sink asked to wait.
    """

    def __init__(
        self, text: str, *, refusal: Refusal = Refusal.RETRY, asked: timedelta | None = None
    ) -> None:
        self.refusal = refusal
        self.asked = asked
        super().__init__(text)


class TokenUnreadableError(DeliveryError):
    """No key in TOKEN_ENCRYPTION_KEYS decrypts a stored authorization token."""


class Sink(Protocol):
    """One place that events go to."""

    @property
    def name(self) -> str:
        """What its deliveries are stored under."""

    @property
    def schedule(self) -> RetrySchedule:
        """How its failed deliveries are tried again."""

    @property
    def in_flight(self) -> int | None:
        """How many deliveries of one process may be under way to it, beside the tasks.

        None for one as quick as our own servers: a relay task waits for it.
        """

    async def deliver(self, envelope: dict[str, Any]) -> None:
        """Hand the CloudEvent over, at least once.

        Raises:
            DeliveryError: it was not taken.
        """


class StreamSink(Sink, Protocol):
    """A sink that keeps events itself and may lose them with its server."""

    stream: str
    retention: timedelta

    async def generation(self) -> str | None:
        """Return the mark on the stream, None where mark or stream is gone."""

    async def set_generation(self, generation: str) -> None:
        """Put the mark on the stream."""


class TokenCipher(Protocol):
    """Authorization tokens at rest."""

    def encrypt(self, token: str) -> bytes:
        """Encrypt with the first key."""

    def decrypt(self, encrypted: bytes) -> str:
        """Decrypt with any key.

        Raises:
            TokenUnreadableError: no key fits.
        """
