"""How following ends without Klarna's word: expiry, giving up, and guesses that are read again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.support.builders import (
    CANARY_TOKEN,
    LIMITS,
    NOW,
    a_long_unread_session,
    a_read_session,
    a_session,
    ago,
    ahead,
    an_observation,
    decided,
)
from worker.domain.account import AccountState
from worker.domain.errors import (
    AccountRefusedError,
    ObservationError,
    RateLimitedError,
    ServerError,
    SessionNotFoundError,
)
from worker.domain.session import Outcome, PaymentSession
from worker.domain.transitions import Decision, Finding, give_up

NOT_FOUND = SessionNotFoundError(status_code=404)
UNREADABLE = [
    AccountRefusedError(status_code=401),
    AccountRefusedError(status_code=403),
    RateLimitedError(),
    ServerError(status_code=500),
]
UNCHANGED = an_observation(updated_at=ago(minutes=10), expires_at=None)


def types_of(decision: Decision) -> list[str]:
    return [str(event.type) for event in decision.events]


# --- expiry


@pytest.mark.parametrize("status", ["WAITING", "IN_PROGRESS", "FAILED", "UNHEARD_OF"])
def test_an_open_session_read_at_its_end_plus_grace_is_expired(status: str):
    before = a_read_session(status, expires_at=ago(seconds=30))

    decision = decided(before, an_observation(status, updated_at=None, expires_at=None))

    assert decision.session.outcome is Outcome.EXPIRED
    assert decision.session.finished_at == NOW
    assert decision.session.next_poll_at is None
    assert decision.session.status == status
    assert decision.finding is Finding.FINISHED
    assert types_of(decision) == ["payment_session.expired"]
    # Its time is when the consumer could pay no more, not when we noticed.
    assert decision.events[0].time == ago(seconds=30)


def test_before_the_grace_is_over_an_open_session_is_read_once_more_at_its_end():
    decision = decided(a_read_session(expires_at=ago(seconds=29)), UNCHANGED)

    assert decision.session.outcome is None
    assert decision.session.next_poll_at == ahead(seconds=1)


def test_a_payment_in_the_last_moment_wins_over_the_expiry():
    decision = decided(
        a_read_session(expires_at=ago(hours=30)),
        an_observation("COMPLETED", expires_at=None, order_id="order-1"),
    )

    assert decision.session.outcome is Outcome.COMPLETED


def test_a_change_seen_by_the_last_read_is_recorded_with_the_expiry():
    decision = decided(
        a_read_session(expires_at=ago(minutes=5)), an_observation("FAILED", expires_at=None)
    )

    assert decision.transition.to_status == "FAILED"
    assert types_of(decision) == ["payment_session.expired"]
    assert decision.events[0].data["status"] == "FAILED"


def test_a_stale_answer_at_the_end_is_still_a_healthy_read_of_an_open_session():
    decision = decided(
        a_read_session(expires_at=ago(minutes=5)),
        an_observation("BACK", updated_at=ago(hours=9), expires_at=None),
    )

    assert decision.session.outcome is Outcome.EXPIRED
    assert decision.session.status == "WAITING"


@pytest.mark.parametrize(
    ("named", "outcome"),
    [
        pytest.param(ahead(hours=1), None, id="later-than-known-goes-on"),
        pytest.param(ago(hours=1), Outcome.EXPIRED, id="earlier-than-known-ends"),
    ],
)
def test_the_end_that_the_answer_itself_tells_counts(named: datetime, outcome: Outcome | None):
    known = ago(minutes=5) if outcome is None else ahead(minutes=5)

    decision = decided(
        a_read_session(expires_at=known), an_observation("WAITING", expires_at=named)
    )

    assert decision.session.outcome is outcome


@pytest.mark.parametrize("answer", [UNCHANGED, NOT_FOUND], ids=["open", "404"])
def test_without_any_end_a_session_lives_for_its_longest_lifetime(
    answer: ObservationError,
):
    limits = replace(LIMITS, max_lifetime=timedelta(hours=2), expiry_grace=timedelta(0))
    younger = a_read_session(expires_at=None, tracked_at=ago(hours=1.9))
    older = a_read_session(expires_at=None, tracked_at=ago(hours=2))

    assert decided(younger, answer, limits=limits).session.outcome is None
    ended = decided(older, answer, limits=limits)
    assert ended.session.outcome is Outcome.EXPIRED
    assert ended.events[0].time == NOW
    assert ended.events[0].data["expires_at"] is None


@pytest.mark.parametrize("session", [a_session(), a_read_session()], ids=["never-read", "read"])
def test_a_404_past_the_end_is_the_expiry(session: PaymentSession):
    before_end = decided(replace(session, expires_at=ahead(seconds=1)), NOT_FOUND)
    at_end = decided(replace(session, expires_at=NOW), NOT_FOUND)

    assert before_end.session.outcome is None
    assert at_end.session.outcome is Outcome.EXPIRED
    assert at_end.events[0].time == NOW
    assert at_end.transition is None


# --- giving up


@pytest.mark.parametrize("error", UNREADABLE, ids=str)
def test_an_unreadable_session_is_tried_for_a_day_past_its_end_and_then_given_up(
    error: ObservationError,
):
    trying = decided(a_long_unread_session(expires_at=ago(hours=23.99)), error)
    over = decided(a_long_unread_session(expires_at=ago(hours=24)), error)

    assert trying.session.outcome is None
    assert trying.session.next_poll_at >= NOW
    assert over.session.outcome is Outcome.EXPIRED
    assert over.session.last_error == str(error)
    assert over.finding is Finding.GAVE_UP
    assert types_of(over) == ["payment_session.expired"]
    assert over.events[0].time == ago(hours=24)


@pytest.mark.parametrize("error", UNREADABLE, ids=str)
def test_the_account_is_reported_of_the_failure_that_ended_a_session(error: ObservationError):
    ended = decided(a_long_unread_session(expires_at=ago(hours=24)), error)
    going_on = decided(a_read_session(), error)

    assert ended.account == going_on.account


@pytest.mark.parametrize("error", UNREADABLE, ids=str)
def test_a_nudge_after_the_end_has_a_day_of_its_own(error: ObservationError):
    nudged = a_long_unread_session(expires_at=ago(days=9), nudged_at=ago(hours=23.99))
    nudged_long_ago = replace(nudged, nudged_at=ago(hours=24))
    nudged_before_its_end = replace(nudged, nudged_at=ago(days=10))

    assert decided(nudged, error).session.outcome is None
    assert decided(nudged_long_ago, error).session.outcome is Outcome.EXPIRED
    assert decided(nudged_before_its_end, error).session.outcome is Outcome.EXPIRED


def test_a_session_that_is_not_even_tried_any_more_is_given_up_with_its_last_error():
    """For sessions whose account is paused for good or no longer configured."""
    before = a_long_unread_session(expires_at=ago(hours=24), last_error="account_refused: HTTP 401")

    decision = give_up(before, now=NOW, limits=LIMITS)

    assert decision.session.outcome is Outcome.EXPIRED
    assert decision.session.last_error == before.last_error
    assert decision.session.poll_count == before.poll_count
    assert decision.finding is Finding.GAVE_UP
    assert decision.account == decision.account_before == AccountState()
    assert types_of(decision) == ["payment_session.expired"]


@pytest.mark.parametrize("error", UNREADABLE, ids=str)
@pytest.mark.parametrize(
    "untried",
    [
        pytest.param({"failing_since": None}, id="workers-were-away"),
        pytest.param({"tracked_at": ago(minutes=1)}, id="tracked-late"),
        pytest.param({"failing_since": ago(hours=23)}, id="failing-for-less-than-a-day"),
    ],
)
def test_what_was_not_tried_for_a_day_is_not_given_up_at_its_first_failure(
    error: ObservationError, untried: dict[str, object]
):
    """Money may have been taken: a session that nobody could read is no expired one."""
    before = a_long_unread_session(expires_at=ago(days=3), **untried)

    assert decided(before, error).session.outcome is None


def test_nothing_is_given_up_before_its_day_is_over():
    before = a_long_unread_session(expires_at=ago(hours=23.99))

    assert give_up(before, now=NOW, limits=LIMITS) is None


# --- guesses that are read again

REOPENED_EXPIRED = a_read_session(
    expires_at=ago(hours=3), guessed_outcome=Outcome.EXPIRED, nudged_at=NOW, event_count=1
)
REOPENED_NOT_FOUND = a_session(guessed_outcome=Outcome.NOT_FOUND, nudged_at=NOW, event_count=1)


@pytest.mark.parametrize(
    ("reopened", "answer"),
    [
        pytest.param(REOPENED_EXPIRED, UNCHANGED, id="expired-still-open"),
        pytest.param(REOPENED_EXPIRED, NOT_FOUND, id="expired-404"),
        pytest.param(REOPENED_NOT_FOUND, NOT_FOUND, id="not-found-after-one-404"),
        pytest.param(
            replace(
                REOPENED_EXPIRED,
                nudged_at=ago(hours=24),
                expires_at=ago(days=9),
                tracked_at=ago(days=11),
                failing_since=ago(hours=24),
            ),
            ServerError(),
            id="expired-unreadable",
        ),
    ],
)
def test_a_confirmed_guess_tells_nothing_new(reopened: PaymentSession, answer: ObservationError):
    decision = decided(reopened, answer)

    assert decision.session.outcome is reopened.guessed_outcome
    assert decision.session.next_poll_at is None
    assert decision.events == ()
    assert decision.session.event_count == 1


@pytest.mark.parametrize("reopened", [REOPENED_EXPIRED, REOPENED_NOT_FOUND])
def test_late_truth_wins_over_a_guess_and_follows_its_event(reopened: PaymentSession):
    decision = decided(
        reopened,
        an_observation(
            "COMPLETED", expires_at=None, authorization_token=CANARY_TOKEN, order_id="order-1"
        ),
    )

    assert decision.session.outcome is Outcome.COMPLETED
    assert [(event.type, event.sequence) for event in decision.events] == [
        ("payment_session.authorized", 2),
        ("payment_session.order_placed", 3),
    ]
    assert decision.session.event_count == 3


def test_a_guess_that_gives_way_to_another_guess_is_reported():
    decision = decided(replace(REOPENED_NOT_FOUND, expires_at=ago(seconds=1)), NOT_FOUND)

    assert decision.session.outcome is Outcome.EXPIRED
    assert [(event.type, event.sequence) for event in decision.events] == [
        ("payment_session.expired", 2)
    ]


def test_a_not_found_session_that_is_there_after_all_is_tracked_again():
    decision = decided(REOPENED_NOT_FOUND, an_observation())
    later = decided(decision.session, NOT_FOUND)

    assert (decision.session.outcome, decision.session.status) == (None, "WAITING")
    assert later.session.outcome is None


def test_an_expired_session_that_is_unreadable_is_tried_again():
    decision = decided(REOPENED_EXPIRED, ServerError(status_code=503))

    assert decision.session.outcome is None
    assert decision.session.next_poll_at >= NOW
