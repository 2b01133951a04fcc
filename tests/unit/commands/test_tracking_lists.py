"""Tracking by lists and in SQL: what is left alone, and a session that has no URL of its own."""

from __future__ import annotations

import pytest

from tests.support.builders import NOW, SESSION_ID, SESSION_URL, a_read_session, a_session, ago
from worker.domain.errors import ConflictError
from worker.domain.session import Kind, Outcome, PaymentSession
from worker.domain.session_addresses import default_session_url, located
from worker.domain.tracking import TrackEffect, TrackRequest, apply_bulk_track, apply_track

OTHER_URL = f"https://api.klarna.com/elsewhere/{SESSION_ID}"


def documented(account: str, kind: Kind, session_id: str = SESSION_ID) -> str:
    return default_session_url(f"https://{account}.test", kind, session_id)


def listed(existing: PaymentSession, **said: object) -> tuple[PaymentSession, TrackEffect]:
    return apply_bulk_track(
        existing,
        TrackRequest(session_id=SESSION_ID, **said),
        now=NOW,
        session_url_for=documented,
    )


def tracked(existing: PaymentSession, **said: object) -> PaymentSession:
    request = TrackRequest(session_id=SESSION_ID, **said)
    return apply_track(existing, request, now=NOW, session_url_for=documented)[0]


# --- lists


@pytest.mark.parametrize(
    ("existing", "said"),
    [
        (a_session(reference="order-1"), {}),
        (a_read_session(reference="order-1"), {"reference": "order-1", "account": "default"}),
        (a_session(outcome=Outcome.EXPIRED, finished_at=ago(hours=1), next_poll_at=None), {}),
        (
            a_read_session(outcome=Outcome.COMPLETED, finished_at=ago(hours=1), next_poll_at=None),
            {"reference": "another"},
        ),
    ],
    ids=["nothing", "the same", "a guessed end", "ended by Klarna"],
)
def test_a_line_that_says_nothing_new_changes_nothing(
    existing: PaymentSession, said: dict[str, object]
):
    assert listed(existing, **said) == (existing, TrackEffect.UNCHANGED)


def test_a_line_that_says_more_is_taken_over_and_the_session_polled():
    after, effect = listed(a_session(), reference="order-1")

    assert (after.reference, after.next_poll_at, effect) == ("order-1", NOW, TrackEffect.NUDGED)


def test_a_line_that_contradicts_what_was_read_is_a_conflict():
    with pytest.raises(ConflictError):
        listed(a_read_session(reference="order-1"), reference="order-2")


# --- without a URL of its own


@pytest.mark.parametrize("kind", list(Kind))
def test_it_is_read_at_the_documented_url_of_its_account_and_kind(kind: Kind):
    session = a_session(session_url="", kind=kind, account="us")

    assert located(session, documented).session_url == documented("us", kind)


def test_a_url_of_its_own_is_where_it_is_read():
    assert located(a_session(), documented).session_url == SESSION_URL


def test_a_url_may_be_given_before_the_first_read_and_not_after_it():
    """Where it was read is where it goes on; saying the documented URL is no contradiction."""
    assert tracked(a_session(session_url=""), session_url=OTHER_URL).session_url == OTHER_URL
    assert tracked(a_read_session(session_url=""), session_url=OTHER_URL).session_url == ""


def test_another_account_brings_its_own_documented_url_with_it():
    """Though the first may be configured no longer: nobody asks for its URL."""
    after = tracked(a_session(session_url="", consecutive_failures=3), account="us")

    assert (after.account, after.session_url, after.consecutive_failures) == ("us", "", 0)
