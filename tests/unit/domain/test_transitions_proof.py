"""`decide` on proof of payment under a status that is not COMPLETED."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from tests.support.builders import (
    CANARY_TOKEN,
    LIMITS,
    NOW,
    a_kp_session,
    a_long_unread_session,
    a_read_session,
    ago,
    ahead,
    an_observation,
    decided,
)
from worker.domain.errors import ObservationError, ServerError, SessionNotFoundError
from worker.domain.session import Outcome, PaymentSession
from worker.domain.transitions import Decision, Finding, give_up

AUTHORIZED = "payment_session.authorized"
ORDER_PLACED = "payment_session.order_placed"
COMPLETED = "payment_session.completed"
TOKEN = {"authorization_token": CANARY_TOKEN}
ORDER = {"order_id": "order-1"}
OPEN = ["WAITING", "IN_PROGRESS", "MANUAL_ID_CHECK", "BACK", "FAILED", "ERROR"]
UNCHANGED = an_observation(updated_at=ago(minutes=10), expires_at=None)
NOT_FOUND = SessionNotFoundError(status_code=404)


def types_of(decision: Decision) -> list[str]:
    return [str(event.type) for event in decision.events]


# --- a status that Klarna does not document


@pytest.mark.parametrize("status", ["TIMEOUT", "AUTHORISED", "completed", "complete"])
@pytest.mark.parametrize(
    ("carried", "types"),
    [
        pytest.param(TOKEN, [AUTHORIZED], id="token"),
        pytest.param(ORDER, [ORDER_PLACED], id="order"),
        pytest.param(TOKEN | ORDER, [AUTHORIZED, ORDER_PLACED], id="both"),
    ],
)
def test_proof_of_payment_settles_under_an_unknown_status(
    status: str, carried: dict[str, str], types: list[str]
):
    decision = decided(a_read_session(), an_observation(status, **carried))

    assert decision.session.outcome is Outcome.COMPLETED
    assert decision.session.status == decision.transition.to_status == status
    assert types_of(decision) == types
    assert decision.session.authorization_token == carried.get("authorization_token")
    assert decision.finding is Finding.FINISHED


def test_proof_that_comes_without_a_change_of_an_unknown_status_settles_too():
    before = a_read_session("ON_HOLD", status_updated_at=ago(hours=9), expires_at=ago(minutes=5))

    decision = decided(before, an_observation("ON_HOLD", updated_at=ago(hours=9), **TOKEN))

    (event,) = decision.events
    assert decision.transition is None
    assert (event.type, event.time) == (AUTHORIZED, NOW)
    # Not from the start of the status: the read a minute ago did not show the token.
    assert event.data["authorization_expires_at"] == "2026-03-01T12:59:00Z"


def test_an_order_of_a_kp_session_settles_under_an_unknown_status():
    decision = decided(a_kp_session(), an_observation("on_hold", updated_at=None, **ORDER))

    assert decision.session.outcome is Outcome.COMPLETED
    assert types_of(decision) == [ORDER_PLACED]


def test_an_unknown_status_without_proof_goes_on_even_if_an_order_was_seen_before():
    decision = decided(a_read_session(order_id="order-1"), an_observation("ON_HOLD"))

    assert decision.session.outcome is None
    assert decision.events == ()


# --- CANCELLED and DISABLED


@pytest.mark.parametrize("status", ["CANCELLED", "DISABLED"])
def test_cancelled_and_disabled_end_as_they_are_called_whatever_they_carry(status: str):
    decision = decided(a_read_session(holds_token=True), an_observation(status, **TOKEN, **ORDER))

    assert decision.session.outcome == status.lower()
    assert types_of(decision) == [f"payment_session.{status.lower()}"]
    assert decision.session.authorization_token is None


# --- a documented open status


@pytest.mark.parametrize("status", OPEN)
@pytest.mark.parametrize("carried", [TOKEN, ORDER, TOKEN | ORDER], ids=["token", "order", "both"])
def test_proof_under_a_documented_open_status_is_kept_and_reading_goes_on(
    status: str, carried: dict[str, str]
):
    decision = decided(a_read_session(), an_observation(status, **carried))

    after = decision.session
    assert (after.outcome, decision.events) == (None, ())
    assert after.next_poll_at > NOW
    assert after.authorization_token == carried.get("authorization_token")
    assert after.order_id == carried.get("order_id")
    assert after.has_proof
    assert decision.finding is Finding.PROOF_KEPT
    assert not decision.is_unchanged


def test_an_order_of_a_kp_session_that_is_incomplete_is_kept():
    decision = decided(a_kp_session(), an_observation("incomplete", updated_at=None, **ORDER))

    assert (decision.session.outcome, decision.session.order_id) == (None, "order-1")
    assert decision.finding is Finding.PROOF_KEPT


def test_proof_without_a_change_of_status_is_recorded_at_once():
    decision = decided(a_read_session(), replace(UNCHANGED, **TOKEN))

    assert decision.transition is None
    assert decision.finding is Finding.PROOF_KEPT
    assert not decision.is_unchanged


def test_proof_is_warned_of_once():
    before = a_read_session(holds_token=True, order_id="order-1")

    again = decided(before, replace(UNCHANGED, **TOKEN, **ORDER))
    another = decided(before, replace(UNCHANGED, **TOKEN, order_id="order-2"))

    assert again.finding is Finding.UNCHANGED
    assert another.finding is Finding.PROOF_KEPT


KEPT = [
    pytest.param({"holds_token": True}, id="token"),
    pytest.param({"order_id": "order-1"}, id="order"),
]


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize(
    ("before", "answer"),
    [
        pytest.param(a_read_session(expires_at=ago(minutes=5)), UNCHANGED, id="still-open"),
        pytest.param(a_read_session(expires_at=ago(minutes=5)), NOT_FOUND, id="404"),
        pytest.param(
            a_long_unread_session(expires_at=ago(hours=24)), ServerError(), id="unreadable"
        ),
        pytest.param(
            a_read_session(expires_at=ago(minutes=5), guessed_outcome=Outcome.EXPIRED),
            UNCHANGED,
            id="expired-before",
        ),
    ],
)
def test_a_session_with_kept_proof_ends_completed_and_never_expired(
    kept: dict[str, object], before: PaymentSession, answer: ObservationError
):
    decision = decided(replace(before, **kept), answer)

    assert decision.session.outcome is Outcome.COMPLETED
    assert types_of(decision) == [COMPLETED]
    assert decision.events[0].time == NOW
    assert decision.finding is Finding.COMPLETED_WHILE_OPEN
    assert decision.session.authorization_expires_at is None


@pytest.mark.parametrize("carried", [TOKEN, ORDER], ids=["token", "order"])
def test_proof_first_seen_by_the_last_read_ends_completed_without_placing_an_order(
    carried: dict[str, str],
):
    decision = decided(
        a_read_session(expires_at=ago(minutes=5)),
        an_observation("FAILED", expires_at=None, **carried),
    )

    assert decision.transition.to_status == "FAILED"
    assert decision.session.outcome is Outcome.COMPLETED
    assert types_of(decision) == [COMPLETED]
    assert decision.session.authorization_token == carried.get("authorization_token")


@pytest.mark.parametrize("kept", KEPT)
def test_a_session_with_kept_proof_that_is_given_up_is_completed(kept: dict[str, object]):
    before = a_long_unread_session(expires_at=ago(hours=24), **kept)

    decision = give_up(before, now=NOW, limits=LIMITS)

    assert decision.session.outcome is Outcome.COMPLETED
    assert types_of(decision) == [COMPLETED]


@pytest.mark.parametrize(
    ("updated_at", "expires_at"),
    [(ago(minutes=1), "2026-03-01T12:59:00Z"), (None, "2026-03-01T12:59:00Z")],
)
def test_completed_after_kept_proof_counts_by_what_it_carries_itself(
    updated_at: datetime | None, expires_at: str
):
    before = a_read_session("IN_PROGRESS", holds_token=True, order_id="order-1")

    decision = decided(before, an_observation("COMPLETED", updated_at=updated_at, **TOKEN))

    (event,) = decision.events
    assert event.type == AUTHORIZED
    assert event.data["authorization_expires_at"] == expires_at


def test_a_stale_answers_proof_is_ignored_as_the_answer_is():
    before = a_read_session("IN_PROGRESS", expires_at=ahead(hours=1))

    decision = decided(before, an_observation("BACK", updated_at=ago(hours=2), **TOKEN, **ORDER))

    assert decision.finding is Finding.STALE
    assert not decision.session.has_proof
    assert decision.session.authorization_token is None
