"""Which sinks an event goes to, and what a failed delivery means for it and for its sink.

Pure: time and chance are arguments; `jitter` is drawn from [0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from worker.domain.events import EventType
from worker.domain.session import AUTHORIZATION_LIFETIME

# A sink that asks for a longer pause is asked again after this one: a token lives an hour.
LONGEST_ASKED_WAIT = timedelta(hours=1)
_MOST_DOUBLINGS = 20
# Sinks that place the order, where the shop keeps it.
COMMERCE_LAYER = "commerce_layer"
PAYWAY = "payway"
SHOP_SYSTEMS = frozenset({COMMERCE_LAYER, PAYWAY})
# With the authorization, the order can be placed.
SHOP_SYSTEM_TYPES = frozenset({EventType.AUTHORIZED})
# Events that the shop needs in order to complete a payment, and when they count as late.
PAYMENT_TYPES = frozenset({EventType.AUTHORIZED, EventType.ORDER_PLACED})
PAYMENT_LATE_AFTER = timedelta(seconds=10)
# Servers of the deployment's own, quick enough for a relay task to wait for them.
OWN_SERVERS = frozenset({"redis_stream", "celery"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One sink and the event types it is told; None means every type, those to come included."""

    sink: str
    types: frozenset[EventType] | None = None

    @property
    def requires_mapping(self) -> bool:
        """It is told only of payment sessions that were tracked with a name of its own."""
        return self.sink in SHOP_SYSTEMS

    @property
    def internal(self) -> bool:
        """It is one of the deployment's own servers: a relay task waits for it."""
        return self.sink in OWN_SERVERS

    def takes(self, event_type: EventType) -> bool:
        """Return whether events of this type are for the sink."""
        return self.types is None or event_type in self.types


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """How a sink's failed deliveries are tried again; all durations.

    Waits double from `first_wait` to `longest_wait`, each spread over its second half. After
    `gives_up_after`, reckoned from when trying began, a last try comes, then the delivery is dead;
    None means never.
    """

    first_wait: timedelta
    longest_wait: timedelta
    gives_up_after: timedelta | None = None


# Servers of the deployment's own: they come back, and what is theirs is never given up.
INTERNAL = RetrySchedule(first_wait=timedelta(seconds=1), longest_wait=timedelta(minutes=5))
# Ten tries in the hour that a token lives, then ever fewer over the three days that Standard
# Webhooks 1.0 recommends.
WEBHOOK = RetrySchedule(
    first_wait=timedelta(seconds=5),
    longest_wait=timedelta(hours=8),
    gives_up_after=timedelta(days=3),
)


# A shop system that places the order: tried every half minute at least for as long as the token
# lives, reckoned from when it was read. Klarna takes it no longer than that.
ORDER = RetrySchedule(
    first_wait=timedelta(seconds=1),
    longest_wait=timedelta(seconds=30),
    gives_up_after=AUTHORIZATION_LIFETIME,
)


class Refusal(StrEnum):
    """Why a sink did not take an event."""

    RETRY = "retry"
    # It asks for a pause of all that is sent to it.
    HOLD = "hold"
    # It wants nothing more, until a person says otherwise.
    GONE = "gone"
    # It will never take this event.
    FINAL = "final"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The `attempts`-th failed try of a delivery that began `age` ago; `asked`: wait so long."""

    attempts: int
    age: timedelta
    refusal: Refusal = Refusal.RETRY
    asked: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDecision:
    """What comes of it: the delivery's next try after `wait` (None: it is dead), and its sink's."""

    wait: timedelta | None
    hold_sink: timedelta | None = None
    disable_sink: bool = False


def retry_decision(failure: Failure, schedule: RetrySchedule, *, jitter: float) -> RetryDecision:
    """Return what a failed try means."""
    if failure.refusal is Refusal.GONE:
        return RetryDecision(wait=timedelta(0), disable_sink=True)
    if failure.refusal is Refusal.FINAL:
        return RetryDecision(wait=None)
    asked = min(failure.asked or timedelta(0), LONGEST_ASKED_WAIT)
    wait = max(delivery_backoff(failure.attempts, schedule, jitter=jitter), asked)
    hold = asked if failure.refusal is Refusal.HOLD and asked else None
    if schedule.gives_up_after is None:
        return RetryDecision(wait=wait, hold_sink=hold)
    left = schedule.gives_up_after - failure.age
    return RetryDecision(wait=min(wait, left) if left > timedelta(0) else None, hold_sink=hold)


def delivery_backoff(attempts: int, schedule: RetrySchedule, *, jitter: float) -> timedelta:
    """Return how long to wait after the `attempts`-th failed try: half to full backoff."""
    doublings = min(max(attempts, 1) - 1, _MOST_DOUBLINGS)
    ceiling = min(schedule.first_wait * 2.0**doublings, schedule.longest_wait)
    return ceiling * (0.5 + 0.5 * jitter)
