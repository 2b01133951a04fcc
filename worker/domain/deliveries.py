"""Which sinks an event goes to, and what a failed delivery means for it and for its sink.

Pure: time and chance are arguments; `jitter` is drawn from [0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from worker.domain.events import EventType
from worker.domain.session import AUTHORIZATION_LIFETIME

# The longest wait that a sink can ask for: a token is not valid for longer.
LONGEST_ASKED_WAIT = AUTHORIZATION_LIFETIME
# The same while an authorization waits, and the longest time between two of its attempts: whatever
# a server asks for, nearly all of the token's life is left for the order.
LONGEST_AUTHORIZATION_WAIT = timedelta(minutes=1)
_MOST_DOUBLINGS = 20
# Sinks that place the order in the shop's own system.
COMMERCE_LAYER = "commerce_layer"
PAYWAY = "payway"
SHOP_SYSTEMS = frozenset({COMMERCE_LAYER, PAYWAY})
# The event that the order is placed with.
SHOP_SYSTEM_TYPES = frozenset({EventType.AUTHORIZED})
# Events that the shop needs in order to complete a payment, and when they count as late.
PAYMENT_TYPES = frozenset({EventType.AUTHORIZED, EventType.ORDER_PLACED})
PAYMENT_LATE_AFTER = timedelta(seconds=10)
# Servers of the deployment itself: fast enough for a relay task to wait for them.
INTERNAL_SINKS = frozenset({"redis_stream", "celery"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One sink and its event types; None means all types, including future ones."""

    sink: str
    types: frozenset[EventType] | None = None

    @property
    def requires_mapping(self) -> bool:
        """Whether it takes only events of sessions that were tracked with an id of its system."""
        return self.sink in SHOP_SYSTEMS

    @property
    def internal(self) -> bool:
        """Whether it is a server of the deployment itself: a relay task waits for it."""
        return self.sink in INTERNAL_SINKS

    def takes(self, event_type: EventType) -> bool:
        """Return whether events of this type are for the sink."""
        return self.types is None or event_type in self.types


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """How failed deliveries to a sink are retried; all durations.

    Waits double from `first_wait` to `longest_wait`, with jitter over the second half of each. The
    last try is `gives_up_after` the first; then the delivery is dead-lettered. None means never.
    """

    first_wait: timedelta
    longest_wait: timedelta
    gives_up_after: timedelta | None = None


# An internal server comes back: its deliveries are never given up.
INTERNAL = RetrySchedule(first_wait=timedelta(seconds=1), longest_wait=timedelta(minutes=5))
# Ten tries in the first hour, then fewer and fewer over the three days that Standard Webhooks 1.0
# recommends. An authorization is tried every minute while its token is valid.
WEBHOOK = RetrySchedule(
    first_wait=timedelta(seconds=5),
    longest_wait=timedelta(hours=8),
    gives_up_after=timedelta(days=3),
)
# A shop system that places the order: retried at least every half minute while the token is valid,
# counted from when it was read. Klarna refuses it afterwards.
ORDER = RetrySchedule(
    first_wait=timedelta(seconds=1),
    longest_wait=timedelta(seconds=30),
    gives_up_after=AUTHORIZATION_LIFETIME,
)


class Refusal(StrEnum):
    """Why a sink did not take an event."""

    RETRY = "retry"
    # It asks for a pause of all deliveries to it.
    PAUSE = "pause"
    # It wants no more deliveries; a person can enable it again.
    GONE = "gone"
    # It will never take this event.
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The `attempts`-th failed try of a delivery that began `age` ago.

    `asked` is how long the sink asked to wait; `token_left` how long the token is valid that the
    delivery brings, or that waits behind it: None without one.
    """

    attempts: int
    age: timedelta
    refusal: Refusal = Refusal.RETRY
    asked: timedelta | None = None
    token_left: timedelta | None = None

    @property
    def delays_authorization(self) -> bool:
        """Whether an authorization whose token is valid waits for the next attempt."""
        return self.token_left is not None and self.token_left > timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDecision:
    """When the delivery is retried (None: it is dead-lettered), and what happens to its sink."""

    wait: timedelta | None
    pause_sink: timedelta | None = None
    disable_sink: bool = False


def retry_decision(failure: Failure, schedule: RetrySchedule, *, jitter: float) -> RetryDecision:
    """Return whether and when a failed delivery is retried, and what happens to its sink."""
    if failure.refusal is Refusal.GONE:
        return RetryDecision(wait=timedelta(0), disable_sink=True)
    if failure.refusal is Refusal.PERMANENT:
        return RetryDecision(wait=None)
    longest = LONGEST_AUTHORIZATION_WAIT if failure.delays_authorization else LONGEST_ASKED_WAIT
    asked = min(failure.asked or timedelta(0), longest)
    wait = max(_backoff(failure, schedule, jitter=jitter), asked)
    pause = asked if failure.refusal is Refusal.PAUSE and asked else None
    if schedule.gives_up_after is None:
        return RetryDecision(wait=wait, pause_sink=pause)
    left = schedule.gives_up_after - failure.age
    return RetryDecision(wait=min(wait, left) if left > timedelta(0) else None, pause_sink=pause)


def _backoff(failure: Failure, schedule: RetrySchedule, *, jitter: float) -> timedelta:
    backoff = delivery_backoff(failure.attempts, schedule, jitter=jitter)
    if failure.delays_authorization:
        return min(backoff, LONGEST_AUTHORIZATION_WAIT)
    # An authorization whose token has expired had an attempt a minute: by their number alone the
    # next one would come after the longest wait. Waits that double never exceed this bound.
    return min(backoff, schedule.first_wait + 2 * max(failure.age, timedelta(0)))


def delivery_backoff(attempts: int, schedule: RetrySchedule, *, jitter: float) -> timedelta:
    """Return how long to wait after the `attempts`-th failed try: half to full backoff."""
    doublings = min(max(attempts, 1) - 1, _MOST_DOUBLINGS)
    ceiling = min(schedule.first_wait * 2.0**doublings, schedule.longest_wait)
    return ceiling * (0.5 + 0.5 * jitter)
