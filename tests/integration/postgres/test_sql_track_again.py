"""`track_payment_session` on a session that is tracked already: what the task would do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.sql_shop import track
from tests.support.stored import ORIGIN, Stored

LATER = datetime(2030, 5, 1, 12, tzinfo=UTC)
HPP = f"{ORIGIN}/hpp/v1/sessions"


def test_again_means_poll_now_and_a_live_lease_is_left_alone(
    shop: psycopg.Connection, stored: Stored
):
    lease = "99d61c00-8d51-51c8-a72a-a619a578db67"
    stored.add_session(
        "s1",
        due_in=600,
        status="WAITING",
        reference="order-1",
        lease_id=lease,
        lease_expires_at=LATER,
        consecutive_failures=3,
    )

    assert track(shop) is False
    shop.commit()

    row = stored.session("s1")
    assert row["nudged_at"] <= row["next_poll_at"] <= stored.value("SELECT now()")
    assert (str(row["lease_id"]), row["lease_expires_at"]) == (lease, LATER)
    assert (row["reference"], row["session_url"]) == ("order-1", f"{HPP}/s1")
    assert row["consecutive_failures"] == 3


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        ({"reference": "order-2"}, {"reference": "order-2", "consecutive_failures": 3}),
        ({"account": "other"}, {"account": "other", "session_url": "", "consecutive_failures": 0}),
        ({"kind": "kp"}, {"kind": "kp", "session_url": "", "not_found_count": 0}),
        ({"session_url": "https://other.test/s1"}, {"session_url": "https://other.test/s1"}),
        ({"expires_at": LATER}, {"expires_at": LATER}),
    ],
    ids=["reference", "account", "kind", "session_url", "expires_at"],
)
def test_an_argument_corrects_a_session_that_was_never_read(
    shop: psycopg.Connection, stored: Stored, arguments: dict[str, Any], columns: dict[str, Any]
):
    """Another account or kind changes a documented URL; earlier failures do not count for it."""
    stored.add_session("s1", reference="order-1", consecutive_failures=3, not_found_count=2)

    assert track(shop, **arguments) is False
    shop.commit()

    row = stored.session("s1")
    assert {name: row[name] for name in columns} == columns


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"reference": "order-2"}, "reference"),
        ({"account": "other"}, "account"),
        ({"kind": "kp"}, "kind"),
        ({"session_url": "https://other.test/s1"}, "session_url"),
        ({"expires_at": LATER + timedelta(hours=1)}, "expires_at"),
    ],
    ids=["reference", "account", "kind", "session_url", "expires_at"],
)
def test_an_argument_that_contradicts_what_was_read_is_a_conflict_and_stores_nothing(
    shop: psycopg.Connection, stored: Stored, arguments: dict[str, Any], field: str
):
    stored.add_session("s1", due_in=600, status="WAITING", reference="order-1", expires_at=LATER)
    before = stored.session("s1")

    with pytest.raises(psycopg.IntegrityError, match=f"^{field}: contradicts") as raised:
        track(shop, **arguments)
    shop.rollback()

    assert raised.value.sqlstate == "23000"
    assert stored.session("s1") == before


def test_the_same_again_is_no_conflict(shop: psycopg.Connection, stored: Stored):
    """Klarna's times may be rounded differently; a derived URL stays derived."""
    stored.add_session(
        "s1", status="WAITING", reference="order-1", expires_at=LATER, session_url=""
    )

    track(
        shop,
        session_url=f"{HPP}/s1",
        expires_at=LATER + timedelta(seconds=59),
        account="DEFAULT",
        kind="hpp",
        reference="order-1",
    )
    shop.commit()

    row = stored.session("s1")
    assert (row["expires_at"], row["session_url"]) == (LATER, "")


@pytest.mark.parametrize("outcome", ["completed", "cancelled", "disabled"])
def test_what_klarna_finished_stays_as_it_is(
    shop: psycopg.Connection, stored: Stored, outcome: str
):
    stored.add_session("s1", outcome=outcome, finished_at=LATER, next_poll_at=None)
    before = stored.session("s1")

    assert track(shop, reference="order-2") is False
    shop.commit()

    assert stored.session("s1") == before


@pytest.mark.parametrize("outcome", ["expired", "not_found"])
@pytest.mark.parametrize(("account", "kept"), [("default", "its guess"), ("other", None)])
def test_a_guessed_end_is_opened_and_read_once_more(
    shop: psycopg.Connection, stored: Stored, outcome: str, account: str, kept: str | None
):
    """At another account it would be a new guess."""
    stored.add_session("s1", outcome=outcome, finished_at=LATER, next_poll_at=None)

    assert track(shop, account=account) is False
    shop.commit()

    row = stored.session("s1")
    assert (row["outcome"], row["finished_at"]) == (None, None)
    assert row["guessed_outcome"] == (outcome if kept else None)
    assert row["next_poll_at"] is not None
