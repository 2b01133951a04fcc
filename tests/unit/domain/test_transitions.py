"""`decide` on healthy reads of an HPP session: what is a change, what is stale, what is final."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.support.builders import (
    NOW,
    a_read_session,
    a_session,
    ago,
    ahead,
    an_observation,
    decided,
)
from worker.domain.account import AccountState
from worker.domain.session import Outcome, Transition
from worker.domain.transitions import Finding

OPEN = [
    "WAITING",
    "IN_PROGRESS",
    "MANUAL_ID_CHECK",
    "BACK",
    "FAILED",
    "ERROR",
    "TIMEOUT",
    "SOMETHING_NEW",
    "completed",
]
FINAL = [
    ("COMPLETED", Outcome.COMPLETED),
    ("CANCELLED", Outcome.CANCELLED),
    ("DISABLED", Outcome.DISABLED),
]


@pytest.mark.parametrize("status", OPEN)
def test_an_open_status_is_recorded_and_stays_tracked(status: str):
    decision = decided(a_read_session("STARTED"), an_observation(status))

    assert decision.finding is Finding.CHANGED
    assert decision.session.status == status
    assert decision.session.outcome is None
    assert decision.session.finished_at is None
    assert decision.session.next_poll_at > NOW
    assert decision.events == ()
    assert decision.transition == Transition(
        sequence=2,
        from_status="STARTED",
        to_status=status,
        occurred_at=ago(minutes=1),
        observed_at=NOW,
        previous_read_at=ago(minutes=1),
    )


@pytest.mark.parametrize("status", OPEN)
@pytest.mark.parametrize(("final", "outcome"), FINAL)
def test_every_open_status_may_be_followed_by_every_final_one(
    status: str, final: str, outcome: Outcome
):
    decision = decided(a_read_session(status), an_observation(final, order_id="order-1"))

    assert decision.transition.from_status == status
    assert decision.session.outcome is outcome


@pytest.mark.parametrize(("status", "outcome"), FINAL)
def test_a_final_status_finishes_the_session(status: str, outcome: Outcome):
    decision = decided(a_read_session(), an_observation(status, order_id="order-1"))

    assert decision.session.outcome is outcome
    assert decision.session.finished_at == NOW
    assert decision.session.next_poll_at is None
    assert decision.transition.to_status == status
    assert decision.finding is Finding.FINISHED
    assert not decision.is_unchanged


@pytest.mark.parametrize("status", ["CANCELLED", "DISABLED"])
def test_an_ending_without_payment_has_one_event_of_its_own(status: str):
    decision = decided(a_read_session(), an_observation(status))

    (event,) = decision.events
    assert event.type == f"payment_session.{status.lower()}"
    assert event.time == ago(minutes=1)
    assert decision.session.event_count == 1


@pytest.mark.parametrize("status", [*OPEN, "COMPLETED", "CANCELLED", "DISABLED"])
def test_the_first_observation_is_a_transition_from_null(status: str):
    decision = decided(a_session(), an_observation(status))

    assert decision.transition == Transition(
        sequence=1,
        from_status=None,
        to_status=status,
        occurred_at=ago(minutes=1),
        observed_at=NOW,
    )
    assert decision.session.status_updated_at == ago(minutes=1)
    assert decision.session.status_observed_at == NOW
    assert decision.session.transition_count == 1


def test_the_same_answer_again_only_moves_the_schedule():
    before = a_read_session("IN_PROGRESS")

    decision = decided(before, an_observation("IN_PROGRESS", updated_at=before.status_updated_at))

    assert decision.finding is Finding.UNCHANGED
    assert decision.transition is None
    assert decision.is_unchanged
    assert decision.session.status_observed_at == before.status_observed_at
    # 8 % of ten minutes, with no jitter either way.
    assert decision.session.next_poll_at == NOW + timedelta(seconds=48)


def test_the_same_status_with_a_new_updated_at_is_a_transition_to_itself():
    decision = decided(a_read_session("FAILED"), an_observation("FAILED"))

    assert decision.transition.from_status == decision.transition.to_status == "FAILED"
    assert decision.session.status_updated_at == ago(minutes=1)


@pytest.mark.parametrize(
    ("recorded", "seen", "finding", "occurred_at"),
    [
        pytest.param(ago(minutes=9), ago(minutes=2), "changed", ago(minutes=2), id="later"),
        pytest.param(ago(minutes=9), ago(minutes=9), "changed", ago(minutes=9), id="equal"),
        pytest.param(ago(minutes=9), ago(minutes=9.1), "stale", None, id="older"),
        pytest.param(ago(minutes=9), None, "changed", NOW, id="missing-is-never-stale"),
        pytest.param(ago(minutes=9), ahead(hours=3), "changed", NOW, id="future-counts-as-now"),
        pytest.param(None, ago(days=9), "changed", ago(days=9), id="none-recorded"),
        pytest.param(ahead(hours=9), ahead(hours=3), "changed", NOW, id="future-then-less-so"),
        pytest.param(ahead(hours=9), ago(minutes=2), "changed", ago(minutes=2), id="then-past"),
        pytest.param(ahead(hours=9), ago(minutes=6), "stale", None, id="then-before"),
    ],
)
def test_updated_at_says_whether_another_open_status_is_news(
    recorded: datetime | None, seen: datetime | None, finding: str, occurred_at: datetime | None
):
    """The recorded status was observed five minutes ago, whatever Klarna says of its start."""
    before = a_read_session("IN_PROGRESS", status_updated_at=recorded)

    decision = decided(before, an_observation("FAILED", updated_at=seen))

    assert decision.finding == finding
    assert (decision.transition and decision.transition.occurred_at) == occurred_at
    assert decision.session.status == ("IN_PROGRESS" if finding == "stale" else "FAILED")


def test_the_same_status_without_updated_at_is_no_change():
    before = a_read_session("IN_PROGRESS")

    decision = decided(before, an_observation("IN_PROGRESS", updated_at=None))

    assert decision.transition is None
    assert decision.session.status_updated_at == before.status_updated_at


def test_a_future_updated_at_is_recorded_as_klarna_said_it_and_repeats_no_transition():
    first = decided(a_session(), an_observation("WAITING", updated_at=ahead(minutes=10)))

    again = decided(
        first.session,
        an_observation("WAITING", updated_at=ahead(minutes=10)),
        now=ahead(minutes=1),
    )

    assert first.session.status_updated_at == ahead(minutes=10)
    assert again.transition is None


def test_a_stale_answer_changes_nothing_but_the_schedule():
    before = a_read_session("IN_PROGRESS", order_id="kept", consecutive_failures=2, last_error="x")
    stale = an_observation(
        "BACK", updated_at=ago(hours=2), expires_at=ahead(hours=99), order_id="other"
    )

    decision = decided(before, stale)

    after = decision.session
    assert decision.finding is Finding.STALE
    assert decision.is_unchanged
    assert (after.status, after.order_id) == ("IN_PROGRESS", "kept")
    assert after.expires_at == before.expires_at
    assert after.status_updated_at == before.status_updated_at
    # It was still a healthy read.
    assert (after.last_read_at, after.consecutive_failures, after.last_error) == (NOW, 0, None)
    assert after.next_poll_at == NOW + timedelta(seconds=48)


@pytest.mark.parametrize(("final", "outcome"), FINAL)
def test_a_final_answer_older_than_the_last_open_one_is_taken_and_marked(
    final: str, outcome: Outcome
):
    decision = decided(
        a_read_session("IN_PROGRESS"),
        an_observation(final, updated_at=ago(hours=2), order_id="order-1"),
    )

    assert decision.finding is Finding.FINISHED_BY_OLDER_ANSWER
    assert decision.session.outcome is outcome
    assert decision.transition.occurred_at == ago(hours=2)
    assert len(decision.events) == 1


@pytest.mark.parametrize("final", ["CANCELLED", "DISABLED"])
@pytest.mark.parametrize("seen", ["WAITING", "FAILED", "CANCELLED", "COMPLETED"])
def test_nothing_leaves_a_final_status(final: str, seen: str):
    """A session with a final status has an outcome and is not polled; should it be, it holds."""
    decision = decided(a_read_session(final), an_observation(seen))

    assert decision.finding is Finding.STALE
    assert decision.session.status == final
    assert decision.transition is None
    assert decision.events == ()


def test_a_healthy_read_counts_and_clears_what_went_wrong_before():
    before = a_session(
        poll_count=6,
        consecutive_failures=4,
        last_error="server_error: HTTP 503",
        not_found_count=3,
        not_found_since=ago(minutes=3),
    )

    after = decided(before, an_observation()).session

    assert (after.poll_count, after.last_polled_at, after.last_read_at) == (7, NOW, NOW)
    assert (after.consecutive_failures, after.last_error) == (0, None)
    assert (after.not_found_count, after.not_found_since) == (0, None)


def test_what_an_answer_does_not_say_is_kept_and_what_it_says_is_taken():
    before = a_read_session(order_id="order-1", klarna_reference="REF")

    silent = decided(before, an_observation("IN_PROGRESS", expires_at=None)).session
    telling = decided(
        before,
        an_observation(
            "IN_PROGRESS", expires_at=ahead(hours=3), order_id="order-2", klarna_reference="NEW"
        ),
    ).session

    assert silent.expires_at == before.expires_at
    assert (silent.order_id, silent.klarna_reference) == ("order-1", "REF")
    assert telling.expires_at == ahead(hours=3)
    assert (telling.order_id, telling.klarna_reference) == ("order-2", "NEW")


def test_a_healthy_read_ends_the_accounts_pause():
    paused = AccountState(version=7, paused_until=NOW, refusals=3, throttles=2)

    decision = decided(a_session(), an_observation(), account=paused)

    assert decision.account_before == paused
    assert decision.account == AccountState(version=7, last_read_at=NOW, recovered_at=NOW)


def test_a_healthy_account_is_not_written_by_every_read():
    noted = AccountState(last_read_at=ago(seconds=29))

    decision = decided(a_session(), an_observation(), account=noted)

    assert decision.account is decision.account_before
    assert decision.decided_at == NOW
