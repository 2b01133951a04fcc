"""`decide` on completions: which events, in which order, and how long the token is good for."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.support.builders import (
    CANARY_TOKEN,
    NOW,
    a_kp_session,
    a_read_session,
    a_session,
    ago,
    ahead,
    an_observation,
    decided,
)
from worker.domain.session import Outcome, PaymentSession
from worker.domain.transitions import Finding

AUTHORIZED = "payment_session.authorized"
ORDER_PLACED = "payment_session.order_placed"
COMPLETED = "payment_session.completed"
TOKEN = {"authorization_token": CANARY_TOKEN}
ORDER = {"order_id": "order-1"}


@pytest.mark.parametrize(
    ("carried", "types"),
    [
        pytest.param(TOKEN, [AUTHORIZED], id="token"),
        pytest.param(ORDER, [ORDER_PLACED], id="order"),
        pytest.param(TOKEN | ORDER, [AUTHORIZED, ORDER_PLACED], id="both-authorized-first"),
    ],
)
def test_completed_tells_what_it_carries(carried: dict[str, str], types: list[str]):
    decision = decided(
        a_read_session(event_count=4), an_observation("COMPLETED", klarna_reference="R", **carried)
    )

    assert [event.type for event in decision.events] == types
    assert [event.sequence for event in decision.events] == list(range(5, 5 + len(types)))
    assert {event.time for event in decision.events} == {ago(minutes=1)}
    assert {event.data["klarna_reference"] for event in decision.events} == {"R"}
    assert decision.finding is Finding.FINISHED
    assert decision.session.event_count == 4 + len(types)
    assert decision.session.outcome is Outcome.COMPLETED
    assert decision.session.authorization_token == carried.get("authorization_token")


@pytest.mark.parametrize(
    ("updated_at", "time", "good_until"),
    [
        pytest.param(ago(minutes=7), ago(minutes=7), ahead(minutes=53), id="updated-at"),
        pytest.param(ahead(hours=1), NOW, ahead(minutes=60), id="future-counts-as-now"),
        pytest.param(None, NOW, ahead(minutes=59), id="missing-counts-from-the-read-before"),
    ],
)
def test_a_token_is_good_for_an_hour_from_the_authorization(
    updated_at: datetime | None, time: datetime, good_until: datetime
):
    decision = decided(
        a_read_session(), an_observation("COMPLETED", updated_at=updated_at, **TOKEN)
    )

    (event,) = decision.events
    assert event.time == time
    assert event.data["authorization_expires_at"] == good_until.isoformat().replace("+00:00", "Z")


def test_a_token_first_seen_without_a_time_was_given_after_tracking_at_the_earliest():
    (event,) = decided(
        a_session(tracked_at=ago(minutes=20)),
        an_observation("COMPLETED", updated_at=None, **TOKEN),
    ).events

    assert event.data["authorization_expires_at"] == "2026-03-01T12:40:00Z"


def test_only_the_authorization_has_an_end():
    authorized, placed = decided(
        a_read_session(), an_observation("COMPLETED", **TOKEN, **ORDER)
    ).events

    assert "authorization_expires_at" in authorized.data
    assert "authorization_expires_at" not in placed.data


def test_no_token_is_in_what_a_decision_shows_of_itself():
    observation = an_observation("COMPLETED", **TOKEN, **ORDER)

    decision = decided(a_read_session(), observation)

    shown = f"{observation!r} {decision!r} {decision.session!r} {decision.events!r}"
    payloads = [event.envelope() for event in decision.events]
    assert CANARY_TOKEN not in f"{shown} {payloads}"


# --- Klarna Payments sessions


@pytest.mark.parametrize(
    ("status", "carried", "types"),
    [
        pytest.param("authorized", TOKEN, [AUTHORIZED], id="incomplete-with-token"),
        pytest.param("complete", {}, [COMPLETED], id="complete"),
        pytest.param("complete", TOKEN, [COMPLETED], id="complete-with-a-spent-token"),
        pytest.param("complete", TOKEN | ORDER, [ORDER_PLACED, COMPLETED], id="complete-with-both"),
        pytest.param("complete", ORDER, [ORDER_PLACED, COMPLETED], id="complete-with-order"),
        pytest.param("on_hold", TOKEN, [AUTHORIZED], id="unknown-with-token"),
    ],
)
def test_a_kp_session_ends_when_it_shows_a_token_or_is_complete(
    status: str, carried: dict[str, str], types: list[str]
):
    decision = decided(a_kp_session(), an_observation(status, updated_at=None, **carried))

    assert decision.session.outcome is Outcome.COMPLETED
    assert [event.type for event in decision.events] == types
    assert decision.finding is Finding.FINISHED
    assert decision.transition.to_status == status


def test_a_kp_token_that_comes_without_a_change_of_status_ends_the_session_too():
    decision = decided(
        a_kp_session(status="on_hold", last_read_at=ago(minutes=1)),
        an_observation("on_hold", updated_at=None, **TOKEN),
    )

    assert decision.transition is None
    assert decision.session.outcome is Outcome.COMPLETED
    assert [(event.type, event.time) for event in decision.events] == [(AUTHORIZED, NOW)]
    assert not decision.is_unchanged


@pytest.mark.parametrize("status", ["incomplete", "on_hold", "COMPLETED", "CANCELLED"])
def test_a_kp_session_without_token_goes_on(status: str):
    decision = decided(a_kp_session(), an_observation(status, updated_at=None))

    assert decision.session.outcome is None
    assert decision.session.status == status
    assert decision.session.next_poll_at > NOW


def test_a_word_of_ours_from_klarna_without_a_token_ends_no_kp_session():
    """`authorized` is what we call a KP session with a token; alone it is an unknown status."""
    decision = decided(a_kp_session(), an_observation("authorized", updated_at=None))
    later = decided(decision.session, an_observation("complete", updated_at=None))

    assert decision.session.outcome is None
    assert later.session.outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    ("session", "good_until"),
    [
        pytest.param(
            a_kp_session(status="incomplete", last_read_at=ago(minutes=4)),
            "2026-03-01T12:56:00Z",
            id="from-the-read-before",
        ),
        pytest.param(
            a_kp_session(tracked_at=ago(minutes=30)),
            "2026-03-01T12:30:00Z",
            id="from-tracking-where-never-read",
        ),
        pytest.param(
            a_kp_session(status="incomplete", last_read_at=ago(minutes=90)),
            "2026-03-01T12:20:00Z",
            id="time-to-try-where-nobody-could-read",
        ),
    ],
)
def test_a_kp_token_is_good_for_an_hour_from_when_it_was_not_there_yet(
    session: PaymentSession, good_until: str
):
    (event,) = decided(session, an_observation("authorized", updated_at=None, **TOKEN)).events

    assert event.data["authorization_expires_at"] == good_until
    assert event.time == NOW


def test_a_kp_session_still_incomplete_after_its_end_is_expired():
    decision = decided(
        a_kp_session(status="incomplete", expires_at=ago(seconds=30)),
        an_observation("incomplete", updated_at=None, expires_at=None),
    )

    assert decision.session.outcome is Outcome.EXPIRED
    assert [event.type for event in decision.events] == ["payment_session.expired"]


def test_the_spent_token_of_a_complete_kp_session_is_not_stored():
    """Klarna's published example still shows it; the shop must not place the order again."""
    decision = decided(
        a_kp_session(status="incomplete"), an_observation("complete", updated_at=None, **TOKEN)
    )

    assert decision.session.authorization_token is None
    assert decision.session.authorization_expires_at is None
    assert decision.session.next_warning_at is None
