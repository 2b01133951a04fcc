"""`decide` on COMPLETED with neither token nor order: read again, then `completed`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.support.builders import (
    CANARY_TOKEN,
    LIMITS,
    NOW,
    SESSION_ID,
    a_long_unread_session,
    a_read_session,
    ago,
    ahead,
    an_observation,
    decided,
)
from worker.domain.errors import ObservationError, ServerError, SessionNotFoundError
from worker.domain.session import Observation, Outcome, PaymentSession
from worker.domain.tracking import TrackRequest, apply_track
from worker.domain.transitions import Decision, Finding, give_up

AUTHORIZED = "payment_session.authorized"
ORDER_PLACED = "payment_session.order_placed"
COMPLETED = "payment_session.completed"
TOKEN = {"authorization_token": CANARY_TOKEN}
ORDER = {"order_id": "order-1"}
EMPTY = an_observation("COMPLETED")
NOT_FOUND = SessionNotFoundError(status_code=404)


def waiting(seconds: float, **overrides: object) -> PaymentSession:
    """Return a session that was first seen as an empty COMPLETED so many seconds ago."""
    since = ago(seconds=seconds)
    return a_read_session(
        "COMPLETED", **({"status_updated_at": since, "status_observed_at": since} | overrides)
    )


def assert_ended_empty(decision: Decision) -> None:
    assert decision.session.outcome is Outcome.COMPLETED
    assert decision.session.next_poll_at is None
    assert [event.type for event in decision.events] == [COMPLETED]
    assert decision.finding is Finding.COMPLETED_EMPTY


@pytest.mark.parametrize(
    "before",
    [
        a_read_session("IN_PROGRESS"),
        a_read_session("IN_PROGRESS", expires_at=ago(hours=3)),
        a_read_session("IN_PROGRESS", order_id="of-an-open-answer", holds_token=True),
    ],
    ids=["before-its-end", "past-its-end", "with-kept-proof"],
)
def test_an_empty_completed_is_recorded_and_read_again_after_30_seconds(before: PaymentSession):
    decision = decided(before, replace(EMPTY, expires_at=None))

    assert decision.transition.to_status == decision.session.status == "COMPLETED"
    assert (decision.session.outcome, decision.events) == (None, ())
    assert decision.session.next_poll_at == ahead(seconds=30)
    assert decision.session.ideal_interval_seconds == 30
    assert decision.finding is Finding.CHANGED


def test_it_is_read_every_30_seconds_for_5_minutes_and_then_ends_completed():
    decision = decided(a_read_session("IN_PROGRESS"), EMPTY)
    reads = []
    while decision.session.outcome is None:
        reads.append(decision.session.next_poll_at)
        decision = decided(decision.session, EMPTY, now=reads[-1])

    assert reads == [NOW + number * timedelta(seconds=30) for number in range(1, 11)]
    assert_ended_empty(decision)
    assert decision.transition is None
    # When Klarna completed it, not when the worker stopped reading.
    assert decision.events[0].time == ago(minutes=1)


@pytest.mark.parametrize(
    ("carried", "types"),
    [
        pytest.param(TOKEN, [AUTHORIZED], id="token"),
        pytest.param(ORDER, [ORDER_PLACED], id="order"),
        pytest.param(TOKEN | ORDER, [AUTHORIZED, ORDER_PLACED], id="both"),
    ],
)
@pytest.mark.parametrize("status", ["COMPLETED", "UNHEARD_OF"])
@pytest.mark.parametrize("updated_at", [ago(seconds=90), ago(seconds=1), ago(hours=2), None])
def test_proof_that_comes_later_settles_without_a_second_transition(
    status: str, updated_at: datetime | None, carried: dict[str, str], types: list[str]
):
    decision = decided(waiting(90), an_observation(status, updated_at=updated_at, **carried))

    assert decision.session.outcome is Outcome.COMPLETED
    assert decision.session.status == "COMPLETED"
    assert decision.transition is None
    assert [event.type for event in decision.events] == types
    assert {event.time for event in decision.events} == {ago(seconds=90)}
    assert decision.session.authorization_token == carried.get("authorization_token")
    if "authorization_token" in carried:
        assert decision.session.authorization_expires_at == ahead(minutes=58, seconds=30)


@pytest.mark.parametrize(
    "seen",
    [
        an_observation("WAITING"),
        an_observation("FAILED", **TOKEN, **ORDER),
        an_observation("UNHEARD_OF"),
        an_observation("CANCELLED", **TOKEN),
        an_observation("DISABLED"),
    ],
    ids=lambda seen: seen.status,
)
def test_no_other_status_follows_an_empty_completed(seen: Observation):
    waits = decided(waiting(60), seen)
    ended = decided(waiting(300), seen)

    assert waits.finding is Finding.STALE
    assert (waits.session.status, waits.transition, waits.events) == ("COMPLETED", None, ())
    assert waits.session.authorization_token is None
    assert waits.session.next_poll_at == ahead(seconds=30)
    assert_ended_empty(ended)


@pytest.mark.parametrize("expires_at", [ahead(hours=1), ago(hours=1)], ids=["before", "past"])
def test_a_404_waits_for_the_5_minutes_too(expires_at: datetime):
    waits = decided(waiting(299, expires_at=expires_at), NOT_FOUND)
    ended = decided(waiting(300, expires_at=expires_at), NOT_FOUND)

    assert waits.session.outcome is None
    assert_ended_empty(ended)


@pytest.mark.parametrize("answer", [ServerError(status_code=500), None], ids=["failing", "unread"])
def test_one_that_is_given_up_is_completed_and_not_expired(answer: ObservationError | None):
    before = a_long_unread_session(status="COMPLETED", expires_at=ago(hours=24))

    if answer is None:
        decision = give_up(before, now=NOW, limits=LIMITS)
    else:
        decision = decided(before, answer)

    assert_ended_empty(decision)


def test_the_longest_interval_of_the_deployment_holds_here_too():
    limits = replace(LIMITS, max_interval=timedelta(seconds=2))

    assert decided(waiting(60), EMPTY, limits=limits).session.next_poll_at == ahead(seconds=2)


def test_tracking_what_ended_so_changes_nothing():
    ended = decided(waiting(300), EMPTY).session

    session, _ = apply_track(
        ended,
        TrackRequest(session_id=SESSION_ID),
        now=ahead(minutes=1),
        session_url_for=lambda *_: ended.session_url,
    )

    assert (session.outcome, session.next_poll_at) == (Outcome.COMPLETED, None)
