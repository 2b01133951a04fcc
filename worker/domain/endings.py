"""How a payment session ends: its final state and events. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from worker.domain.confirmation import WARNINGS, first_warning_at
from worker.domain.events import Event, EventType, build_event
from worker.domain.schedule import PollLimits
from worker.domain.session import (
    AUTHORIZATION_LIFETIME,
    HPP_FINAL,
    KP_COMPLETE,
    Kind,
    Observation,
    Outcome,
    PaymentSession,
    Transition,
)

# A COMPLETED with neither token nor order is read again this often, and ends after this time.
EMPTY_COMPLETED_INTERVAL = timedelta(seconds=30)
EMPTY_COMPLETED_WINDOW = timedelta(minutes=5)


def end(  # a pure decision takes all that it depends on
    before: PaymentSession,
    after: PaymentSession,
    outcome: Outcome,
    *,
    seen: Observation | None,
    transition: Transition | None,
    now: datetime,
    limits: PollLimits,
) -> tuple[PaymentSession, tuple[Event, ...]]:
    """Return `after` ended as `outcome`, and its events.

    `before` is the session before this answer, `transition` the change that the answer made.
    `seen` is the answer if it settled the outcome. A guessed outcome that is reached a second time
    has no events.
    """
    confirmed = outcome.is_guess and outcome is after.guessed_outcome
    types = () if confirmed else events_of(after, outcome, seen)
    expires_at = warning_at = None
    if seen is not None and EventType.AUTHORIZED in types:
        after = replace(after, authorization_token=seen.authorization_token)
        expires_at = _authorization_expires_at(before, after, now=now)
        if limits.confirmation_expected:
            warning_at = first_warning_at(after, expires_at)
    done = replace(
        after,
        outcome=outcome,
        finished_at=now,
        next_poll_at=None,
        event_count=after.event_count + len(types),
        authorization_expires_at=expires_at,
        next_warning_at=warning_at,
    )
    if outcome is Outcome.EXPIRED:
        time = after.deadline(limits.max_lifetime)
    else:
        time = _settled_at(after, transition, now=now)
    return done, _built(types, done, time=time, observed_at=now)


def events_of(
    after: PaymentSession, outcome: Outcome, seen: Observation | None
) -> tuple[EventType, ...]:
    """Return the events of an outcome in order; the token first, as it expires in an hour.

    Only the proof of payment of the answer that settled it counts, not that of earlier answers.
    """
    if outcome is not Outcome.COMPLETED:
        return (EventType(f"payment_session.{outcome}"),)
    types: list[EventType] = []
    if seen is not None and seen.authorization_token is not None and not is_placed(after):
        types.append(EventType.AUTHORIZED)
    if seen is not None and seen.order_id is not None:
        types.append(EventType.ORDER_PLACED)
    if not types or is_placed(after):
        types.append(EventType.COMPLETED)
    return tuple(types)


def _built(
    types: tuple[EventType, ...], done: PaymentSession, *, time: datetime, observed_at: datetime
) -> tuple[Event, ...]:
    """Return the last events of `done`, which counts them already."""
    expires_at = done.authorization_expires_at
    return tuple(
        build_event(
            event_type,
            done,
            sequence=sequence,
            time=time,
            observed_at=observed_at,
            authorization_expires_at=expires_at if event_type is EventType.AUTHORIZED else None,
        )
        for sequence, event_type in enumerate(types, start=done.event_count - len(types) + 1)
    )


def is_placed(session: PaymentSession) -> bool:
    """Whether a KP session's order is placed; a token that it still shows is spent."""
    return session.kind is Kind.KP and session.status == KP_COMPLETE


def empty_window_end(session: PaymentSession) -> datetime:
    """Return when a session that is COMPLETED with neither token nor order ends."""
    return (session.status_observed_at or session.tracked_at) + EMPTY_COMPLETED_WINDOW


def _settled_at(after: PaymentSession, transition: Transition | None, *, now: datetime) -> datetime:
    if transition is not None:
        return transition.occurred_at
    return after.status_since if after.is_completed_empty else now


def _authorization_expires_at(
    before: PaymentSession, after: PaymentSession, *, now: datetime
) -> datetime:
    """The lifetime starts at the authorization, or at the read before if Klarna gave no time.

    A status that Klarna does not document may be older than the token that it shows now.

    After an outage that read may be long ago and the authorization new. So the shop always has the
    time of the first warning to place its order.
    """
    is_dated = after.kind is Kind.HPP and after.status_updated_at is not None
    if is_dated and (after.status in HPP_FINAL or after.status_observed_at == now):
        return after.status_since + AUTHORIZATION_LIFETIME
    earliest = (before.last_read_at or before.tracked_at) + AUTHORIZATION_LIFETIME
    return max(earliest, now + WARNINGS[0])
