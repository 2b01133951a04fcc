"""The confirmation clock: which warnings of a missing order a shop gets, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.support.builders import (
    CANARY_TOKEN,
    LIMITS,
    NOW,
    a_kp_session,
    a_read_session,
    ago,
    ahead,
    an_observation,
    decided,
)
from worker.domain.confirmation import (
    ConfirmEffect,
    Warned,
    apply_confirmation,
    check_order_id,
    due_warning,
)
from worker.domain.errors import ConflictError, InvalidArgumentError
from worker.domain.events import EventType
from worker.domain.session import Outcome, PaymentSession


def authorized(*, minutes_left: float, **overrides: object) -> PaymentSession:
    """A session whose clock strikes first with 20 minutes left."""
    expires_at = ahead(minutes=minutes_left)
    return a_read_session(
        "COMPLETED",
        **{
            "outcome": Outcome.COMPLETED,
            "finished_at": ago(minutes=1),
            "next_poll_at": None,
            "event_count": 1,
            "authorization_expires_at": expires_at,
            "next_warning_at": expires_at - timedelta(minutes=20),
            **overrides,
        },
    )


def warned(session: PaymentSession, now: datetime = NOW) -> Warned:
    said = due_warning(session, now=now)
    assert said is not None
    return said


# --- when the clock begins


@pytest.mark.parametrize(
    ("before", "seen"),
    [
        (a_read_session(), {"status": "COMPLETED", "updated_at": ago(minutes=2)}),
        (a_kp_session(last_read_at=ago(minutes=2)), {"status": "authorized", "updated_at": None}),
    ],
    ids=["hpp", "kp"],
)
def test_an_authorization_is_waited_for_until_twenty_minutes_before_its_end(
    before: PaymentSession, seen: dict[str, object]
):
    """Until then the shop has time; a KP session's hour is counted from the read before."""
    answer = an_observation(**({"authorization_token": CANARY_TOKEN} | seen))

    after = decided(before, answer).session

    assert after.authorization_expires_at == ahead(minutes=58)
    assert after.next_warning_at == ahead(minutes=38)


@pytest.mark.parametrize(
    ("before", "seen"),
    [
        (a_read_session(), {"status": "COMPLETED", "order_id": "klarna-order"}),
        (
            a_read_session(confirmed_order_id="shop-order", confirmed_at=NOW),
            {"status": "COMPLETED"},
        ),
    ],
    ids=["Klarna has placed the order", "confirmed before it was seen"],
)
def test_an_order_that_is_there_is_waited_for_no_longer(
    before: PaymentSession, seen: dict[str, object]
):
    answer = an_observation(**({"authorization_token": CANARY_TOKEN} | seen))

    after = decided(before, answer).session

    assert after.authorization_expires_at is not None
    assert after.next_warning_at is None


def test_a_shop_that_confirms_nothing_is_not_warned():
    seen = an_observation("COMPLETED", authorization_token=CANARY_TOKEN)

    after = decided(
        a_read_session(), seen, limits=replace(LIMITS, confirmation_expected=False)
    ).session

    assert after.authorization_expires_at is not None
    assert after.next_warning_at is None


@pytest.mark.parametrize("status", ["CANCELLED", "WAITING"])
def test_without_a_token_there_is_no_clock(status: str):
    after = decided(a_read_session(), an_observation(status)).session

    assert (after.authorization_expires_at, after.next_warning_at) == (None, None)


# --- when it strikes


@pytest.mark.parametrize(
    ("minutes_left", "said", "next_in"),
    [
        (20, 20, 10),
        (19.5, 20, 9.5),
        (10, 10, 5),
        (5, 5, 5),
        (0.1, 1, 0.1),
        # Beat was away, or the payment was seen late: the most urgent warning alone.
        (15.2, 16, 5.2),
        (7, 7, 2),
        (3, 3, 3),
    ],
)
def test_the_warning_says_how_much_time_is_left(minutes_left: float, said: int, next_in: float):
    """Once; the next warning is the next of 20, 10 and 5 minutes that is still to come."""
    session = authorized(minutes_left=minutes_left)

    after = warned(session)

    assert after.event.type is EventType.AUTHORIZATION_EXPIRING
    assert after.event.data["minutes_left"] == said
    assert after.session.next_warning_at == ahead(minutes=next_in)
    assert due_warning(after.session, now=NOW) is None


@pytest.mark.parametrize("late", [timedelta(0), timedelta(minutes=30)])
def test_when_it_is_too_late_that_alone_is_reported(late: timedelta):
    session = authorized(minutes_left=0)

    said = warned(session, NOW + late)

    assert said.event.type is EventType.AUTHORIZATION_LAPSED
    assert said.event.time == session.authorization_expires_at
    assert "minutes_left" not in said.event.data
    assert said.session.authorization_lapsed_at == NOW + late
    assert said.session.next_warning_at is None
    assert due_warning(said.session, now=NOW + late) is None


def test_a_whole_hour_of_ticks_tells_each_warning_once_and_in_order():
    session = authorized(minutes_left=60)
    said = []
    for second in range(3700):
        if next_warning := due_warning(session, now=NOW + timedelta(seconds=second)):
            session = next_warning.session
            said.append(next_warning.event)

    assert [event.data.get("minutes_left") for event in said] == [20, 10, 5, None]
    assert [event.sequence for event in said] == [2, 3, 4, 5]
    assert len({event.event_id for event in said}) == 4
    assert session.event_count == 5


@pytest.mark.parametrize(
    "nothing_due",
    [
        {"next_warning_at": None},
        {"next_warning_at": ahead(seconds=1)},
        {"authorization_expires_at": None},
    ],
)
def test_before_its_time_nothing_is_reported(nothing_due: dict[str, object]):
    assert due_warning(authorized(minutes_left=20, **nothing_due), now=NOW) is None


def test_the_events_say_what_the_others_say_and_never_the_token():
    said = warned(
        authorized(minutes_left=10, reference="order-7", authorization_token=CANARY_TOKEN)
    )

    data = said.event.envelope()["data"]
    assert (data["reference"], data["status"], data["kind"]) == ("order-7", "COMPLETED", "hpp")
    assert data["authorization_expires_at"] == "2026-03-01T12:10:00Z"
    assert data["observed_at"] == "2026-03-01T12:00:00Z"
    assert CANARY_TOKEN not in str(said.event.envelope())


# --- confirming


def test_a_confirmation_stops_the_clock_and_the_same_again_changes_nothing():
    confirmed, effect = apply_confirmation(authorized(minutes_left=20), "order-1", now=NOW)

    assert effect is ConfirmEffect.CONFIRMED
    assert (confirmed.confirmed_at, confirmed.confirmed_order_id) == (NOW, "order-1")
    assert due_warning(confirmed, now=ahead(hours=2)) is None
    again = apply_confirmation(confirmed, "order-1", now=ahead(minutes=1))
    assert again == (confirmed, ConfirmEffect.UNCHANGED)


def test_another_order_for_the_same_session_is_a_conflict():
    confirmed, _ = apply_confirmation(authorized(minutes_left=20), "order-1", now=NOW)

    with pytest.raises(ConflictError) as raised:
        apply_confirmation(confirmed, "order-2", now=NOW)

    assert raised.value.field == "order_id"


def test_a_session_that_is_not_authorized_may_be_confirmed_all_the_same():
    """The shop may know before the worker has read it."""
    confirmed, effect = apply_confirmation(a_read_session("IN_PROGRESS"), "order-1", now=NOW)

    assert effect is ConfirmEffect.CONFIRMED
    assert confirmed.next_poll_at is not None


@pytest.mark.parametrize("value", [None, "", 7.5, "a\nb", "x" * 256])
def test_an_order_without_a_usable_id_is_refused_by_its_field(value: object):
    with pytest.raises(InvalidArgumentError, match=r"^order_id: "):
        check_order_id(value)


def test_an_orders_id_is_any_printable_text():
    assert check_order_id("ordre n° 7") == "ordre n° 7"
