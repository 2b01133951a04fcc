"""Events as CloudEvents: the contract's fields, ids that never change, and no token."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import (
    CANARY_TOKEN,
    NOW,
    SESSION_ID,
    a_kp_session,
    a_read_session,
    a_session,
    ahead,
)
from worker.domain.events import (
    Event,
    EventType,
    build_event,
    rfc3339,
    with_token,
)

COMPLETED = a_read_session(
    "COMPLETED",
    reference="shop-order-7",
    status_updated_at=datetime(2019, 5, 13, 14, 54, 4, 675_000, tzinfo=UTC),
    expires_at=datetime(2019, 5, 15, 13, 51, 43, 507_000, tzinfo=UTC),
    order_id="93d644a2-43f3-11e9-b210-d663bd873d93",
    klarna_reference="X438HG0Q",
    authorization_token=CANARY_TOKEN,
)


def an_event(**overrides: object) -> Event:
    event = build_event(
        EventType.AUTHORIZED,
        COMPLETED,
        sequence=1,
        time=COMPLETED.status_updated_at,
        observed_at=NOW,
        authorization_expires_at=ahead(minutes=60),
    )
    return replace(event, **overrides)


def test_the_envelope_is_the_contracts():
    assert an_event().envelope() == {
        "specversion": "1.0",
        "id": "61bd60fb-6592-5027-80d4-22bf35305661",
        "source": "klarna-session-worker",
        "type": "payment_session.authorized",
        "subject": SESSION_ID,
        "time": "2019-05-13T14:54:04.675000Z",
        "datacontenttype": "application/json",
        "sequence": "0000000001",
        "data": {
            "session_id": SESSION_ID,
            "account": "default",
            "kind": "hpp",
            "reference": "shop-order-7",
            "status": "COMPLETED",
            "updated_at": "2019-05-13T14:54:04.675000Z",
            "expires_at": "2019-05-15T13:51:43.507000Z",
            "observed_at": "2026-03-01T12:00:00Z",
            "authorization_expires_at": "2026-03-01T13:00:00Z",
            "order_id": "93d644a2-43f3-11e9-b210-d663bd873d93",
            "klarna_reference": "X438HG0Q",
        },
    }


def test_the_envelope_is_plain_json():
    envelope = an_event().envelope()

    assert json.loads(json.dumps(envelope)) == envelope


def test_what_was_never_said_is_null_and_what_does_not_apply_is_absent():
    session = a_kp_session(expires_at=None)

    data = build_event(
        EventType.NOT_FOUND, session, sequence=1, time=NOW, observed_at=NOW
    ).envelope()["data"]

    assert data == {
        "session_id": SESSION_ID,
        "account": "default",
        "kind": "kp",
        "reference": None,
        "status": None,
        "updated_at": None,
        "expires_at": None,
        "observed_at": "2026-03-01T12:00:00Z",
    }


@pytest.mark.parametrize(
    ("event", "event_id"),
    [
        (an_event(), "61bd60fb-6592-5027-80d4-22bf35305661"),
        (
            an_event(type=EventType.EXPIRED, session_id="s-1", sequence=12),
            "86b92ff1-ee8e-5bc7-b303-f705355a73f0",
        ),
    ],
    ids=["authorized", "expired"],
)
def test_ids_are_the_same_for_ever(event: Event, event_id: str):
    """Sinks have stored these: they outlive every release."""
    assert str(event.event_id) == event.envelope()["id"] == event_id


def test_an_id_depends_on_session_type_and_sequence_alone():
    event = an_event()

    assert event.event_id == an_event(time=NOW, data={}).event_id
    others = [
        an_event(session_id="other"),
        an_event(type=EventType.ORDER_PLACED),
        an_event(sequence=2),
    ]
    assert len({event.event_id, *(other.event_id for other in others)}) == 4


@pytest.mark.parametrize(
    ("sequence", "text"), [(1, "0000000001"), (42, "0000000042"), (9_999_999_999, "9999999999")]
)
def test_sequences_sort_as_text(sequence: int, text: str):
    assert an_event(sequence=sequence).envelope()["sequence"] == text


def test_the_token_is_neither_in_the_payload_nor_in_any_repr():
    event = an_event()

    assert CANARY_TOKEN not in f"{event!r} {event} {event.envelope()} {COMPLETED!r}"
    assert "authorization_token" not in json.dumps(event.envelope())


def test_the_token_is_added_to_a_copy_at_delivery():
    envelope = an_event().envelope()

    sent = with_token(envelope, CANARY_TOKEN)

    assert sent["data"]["authorization_token"] == CANARY_TOKEN
    assert "authorization_token" not in envelope["data"]
    sent["data"].pop("authorization_token")
    assert sent == envelope


def test_a_session_never_read_has_no_orders_to_tell_of():
    data = build_event(EventType.EXPIRED, a_session(), sequence=1, time=NOW, observed_at=NOW).data

    assert data.keys().isdisjoint({"order_id", "klarna_reference", "authorization_expires_at"})


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, None),
        (NOW, "2026-03-01T12:00:00Z"),
        (NOW.replace(microsecond=5), "2026-03-01T12:00:00.000005Z"),
        (
            datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=2))),
            "2026-02-28T23:00:00Z",
        ),
    ],
)
def test_times_are_utc_with_a_z(moment: datetime | None, text: str | None):
    assert rfc3339(moment) == text


@settings(max_examples=100, deadline=None, database=None)
@given(st.text("ab1-"), st.sampled_from(EventType), st.integers(1, 10**10 - 1))
def test_any_event_has_an_id_of_its_own_that_is_repeatable(
    session_id: str, event_type: EventType, sequence: int
):
    event = an_event(session_id=session_id, type=event_type, sequence=sequence)

    assert event.event_id == replace(event, data={}).event_id
    assert event.event_id.version == 5
    assert event.event_id != replace(event, sequence=sequence + 1).event_id
