"""Tracking again: what an argument may fill, correct or contradict, and what reopens a session."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from tests.support.builders import (
    KP_SESSION_URL,
    NOW,
    SESSION_ID,
    SESSION_URL,
    a_read_session,
    a_session,
    ago,
    ahead,
)
from worker.domain.errors import ConflictError, InvalidArgumentError
from worker.domain.session import Kind, Outcome, PaymentSession, ShopObjects
from worker.domain.session_addresses import default_session_url
from worker.domain.tracking import TrackEffect, TrackRequest, apply_track

BASE_URLS = {"default": "https://api.klarna.com", "us": "https://api-na.klarna.com"}
US_SESSION_URL = f"https://api-na.klarna.com/hpp/v1/sessions/{SESSION_ID}"
OWN_URL = f"https://api.klarna.com/elsewhere/{SESSION_ID}"
FAILED_BEFORE = {
    "consecutive_failures": 7,
    "not_found_count": 4,
    "not_found_since": ago(hours=1),
    "last_error": "not_found: HTTP 404",
}


def session_url_for(account: str, kind: Kind) -> str:
    if account not in BASE_URLS:
        raise InvalidArgumentError("account", f"{account} is not configured: name another")
    return default_session_url(BASE_URLS[account], kind, SESSION_ID)


def tracked_again(
    existing: PaymentSession, *, now: datetime = NOW, **arguments: object
) -> tuple[PaymentSession, TrackEffect]:
    request = TrackRequest(session_id=SESSION_ID, **arguments)
    return apply_track(existing, request, now=now, session_url_for=session_url_for)


def test_a_url_that_the_stored_accounts_credentials_may_not_go_to_is_refused():
    """Also if it is stored already; moving to the account that it belongs to is allowed."""
    named = {"session_url": US_SESSION_URL, "foreign_accounts": frozenset({"default"})}
    for stored in (SESSION_URL, US_SESSION_URL):
        with pytest.raises(InvalidArgumentError, match=r"^session_url: is not on an allowed"):
            tracked_again(a_session(session_url=stored), **named)

    session, _ = tracked_again(a_session(), account="us", **named)

    assert (session.account, session.session_url) == ("us", US_SESSION_URL)


@pytest.mark.parametrize(
    ("kind", "url"), [(Kind.HPP, SESSION_URL), (Kind.KP, KP_SESSION_URL)], ids=["hpp", "kp"]
)
def test_a_session_of_which_only_the_id_is_known_is_read_where_klarna_documents_it(
    kind: Kind, url: str
):
    assert default_session_url("https://api.klarna.com", kind, SESSION_ID) == url


@pytest.mark.parametrize(
    "existing",
    [
        a_session(reference="r", **FAILED_BEFORE),
        a_read_session(reference="r", consecutive_failures=2, last_error="server_error"),
        a_session(account="removed"),
    ],
    ids=["never-read", "read", "account-configured-no-more"],
)
def test_absent_arguments_change_nothing_but_that_it_is_due_now(existing: PaymentSession):
    session, effect = tracked_again(replace(existing, next_poll_at=ahead(hours=1)))

    assert effect is TrackEffect.NUDGED
    assert session == replace(existing, nudged_at=NOW, next_poll_at=NOW)


@pytest.mark.parametrize("existing", [a_session(), a_read_session()], ids=["never-read", "read"])
def test_repeating_what_is_known_is_a_plain_nudge(existing: PaymentSession):
    session, effect = tracked_again(
        existing,
        session_url=SESSION_URL,
        expires_at=existing.expires_at,
        account="default",
        kind=Kind.HPP,
    )

    assert effect is TrackEffect.NUDGED
    assert session == replace(existing, nudged_at=NOW, next_poll_at=NOW)


@pytest.mark.parametrize(
    "existing",
    [
        a_session(expires_at=None),
        a_read_session(expires_at=None),
        a_session(expires_at=None, account="removed"),
    ],
    ids=["never-read", "read", "account-configured-no-more"],
)
def test_what_was_never_said_is_filled_in(existing: PaymentSession):
    session, _ = tracked_again(existing, expires_at=ahead(hours=5), reference="shop-order-7")

    assert session.expires_at == ahead(hours=5)
    assert session.reference == "shop-order-7"
    assert session.session_url == existing.session_url


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        pytest.param({"account": "us"}, US_SESSION_URL, id="account"),
        pytest.param({"kind": Kind.KP}, KP_SESSION_URL, id="kind"),
        pytest.param({"session_url": OWN_URL}, OWN_URL, id="url"),
        pytest.param({"account": "us", "session_url": OWN_URL}, OWN_URL, id="account-and-url"),
        pytest.param({"expires_at": ahead(hours=9)}, SESSION_URL, id="expires-at"),
        pytest.param({"reference": "new"}, SESSION_URL, id="reference"),
    ],
)
def test_a_session_never_read_may_be_corrected(arguments: dict[str, object], url: str):
    """Its documented URL follows the account and the kind."""
    session, effect = tracked_again(a_session(reference="old", **FAILED_BEFORE), **arguments)

    assert effect is TrackEffect.NUDGED
    assert session.session_url == url
    for field, value in arguments.items():
        assert getattr(session, field) == value


@pytest.mark.parametrize(
    ("arguments", "forgotten"),
    [
        pytest.param({"account": "us"}, True, id="account"),
        pytest.param({"session_url": OWN_URL}, True, id="url"),
        pytest.param({"reference": "new"}, False, id="reference"),
    ],
)
def test_failures_are_forgotten_with_the_address_they_happened_at(
    arguments: dict[str, object],
    forgotten: bool,  # noqa: FBT001 - a column of the table
):
    session, _ = tracked_again(a_session(reference="old", **FAILED_BEFORE), **arguments)

    assert (session.consecutive_failures == 0, session.last_error is None) == (forgotten, forgotten)
    assert (session.not_found_count == 0, session.not_found_since is None) == (forgotten, forgotten)


def test_a_guess_made_at_another_address_is_not_confirmed_but_made_anew():
    guessed = a_session(outcome=Outcome.NOT_FOUND, finished_at=NOW, next_poll_at=None)

    same, _ = tracked_again(guessed)
    moved, _ = tracked_again(guessed, account="us")

    assert (same.guessed_outcome, moved.guessed_outcome) == (Outcome.NOT_FOUND, None)


def test_a_time_cut_off_to_the_second_contradicts_nothing():
    read = a_session(status="WAITING", expires_at=ahead(hours=9, milliseconds=507))

    _, effect = tracked_again(read, expires_at=ahead(hours=9))

    assert effect is TrackEffect.NUDGED


def test_a_url_that_the_shop_gave_stays_when_the_account_is_corrected():
    session, _ = tracked_again(a_session(session_url=OWN_URL), account="us")

    assert (session.account, session.session_url) == ("us", OWN_URL)


def test_a_session_of_an_account_configured_no_more_moves_with_account_and_url():
    lost = a_session(account="removed")

    session, _ = tracked_again(lost, account="us", session_url=US_SESSION_URL)

    assert (session.account, session.session_url) == ("us", US_SESSION_URL)
    with pytest.raises(InvalidArgumentError, match="removed is not configured"):
        tracked_again(lost, account="us")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session_url", OWN_URL),
        ("expires_at", ahead(hours=9)),
        ("account", "us"),
        ("kind", Kind.KP),
        ("reference", "new"),
    ],
)
@pytest.mark.parametrize(
    "ended", [None, Outcome.EXPIRED, Outcome.NOT_FOUND], ids=["open", "expired", "not-found"]
)
def test_a_contradiction_to_a_session_that_was_read_names_its_field(
    field: str, value: object, ended: Outcome | None
):
    existing = a_read_session(reference="old", outcome=ended)

    with pytest.raises(ConflictError) as refused:
        tracked_again(existing, **{field: value})

    assert refused.value.field == field
    assert str(value) not in str(refused.value)


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.CANCELLED, Outcome.DISABLED])
def test_what_klarna_ended_is_left_alone_even_by_a_contradiction(outcome: Outcome):
    ended = a_read_session(outcome.upper(), outcome=outcome, finished_at=NOW, next_poll_at=None)

    session, effect = tracked_again(ended, account="us", reference="new", kind=Kind.KP)

    assert effect is TrackEffect.UNCHANGED
    assert session is ended


@pytest.mark.parametrize("guess", [Outcome.EXPIRED, Outcome.NOT_FOUND])
def test_a_guess_is_opened_and_read_once_more(guess: Outcome):
    ended = a_session(outcome=guess, finished_at=ago(days=1), next_poll_at=None, event_count=1)

    session, effect = tracked_again(ended)

    assert effect is TrackEffect.REOPENED
    assert session == replace(
        ended,
        outcome=None,
        finished_at=None,
        guessed_outcome=guess,
        nudged_at=NOW,
        next_poll_at=NOW,
    )


def test_a_wrong_guess_of_a_session_never_read_can_be_corrected():
    ended = a_session(outcome=Outcome.NOT_FOUND, finished_at=NOW, next_poll_at=None)

    session, effect = tracked_again(ended, account="us")

    assert effect is TrackEffect.REOPENED
    assert (session.account, session.session_url) == ("us", US_SESSION_URL)


# --- what sinks that act in the shop's systems call a payment

PAYWAY = {"payway": {"klarna_payments_session_id": "a1"}}
COMMERCE_LAYER = {"commerce_layer": {"klarna_payment_id": "p1"}}
WITH_ORDER = {"commerce_layer": {"klarna_payment_id": "p1", "order_id": "o1"}}
OTHER = {"commerce_layer": {"klarna_payment_id": "p2"}}


def test_what_one_sink_calls_it_is_kept_beside_what_another_does():
    session, effect = tracked_again(a_session(shop_objects=PAYWAY), shop_objects=COMMERCE_LAYER)

    assert effect is TrackEffect.NUDGED
    assert session.shop_objects == PAYWAY | COMMERCE_LAYER


@pytest.mark.parametrize(
    ("known", "given"), [(COMMERCE_LAYER, WITH_ORDER), (WITH_ORDER, COMMERCE_LAYER)]
)
def test_what_was_said_once_stays_known(known: ShopObjects, given: ShopObjects):
    session, _ = tracked_again(a_read_session(shop_objects=known), shop_objects=given)

    assert session.shop_objects == WITH_ORDER


def test_a_finished_session_can_still_be_reported_what_a_sink_calls_it():
    """Its event may be waiting for just that; nothing else of it changes."""
    ended = a_read_session(outcome=Outcome.COMPLETED, finished_at=NOW, next_poll_at=None)

    session, effect = tracked_again(ended, shop_objects=PAYWAY)

    assert effect is TrackEffect.UNCHANGED
    assert session == replace(ended, shop_objects=PAYWAY)


def test_another_payment_corrects_a_session_never_read_as_a_whole():
    """The order was the other payment's."""
    session, _ = tracked_again(a_session(shop_objects=WITH_ORDER), shop_objects=OTHER)

    assert session.shop_objects == OTHER


def test_another_payment_contradicts_a_session_that_was_read():
    with pytest.raises(ConflictError) as caught:
        tracked_again(a_read_session(shop_objects=WITH_ORDER), shop_objects=OTHER)

    assert caught.value.field == "commerce_layer"
