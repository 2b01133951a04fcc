"""Missing orders as an operator sees them, and `session-worker confirm`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.command import session_worker
from tests.support.stored import Stored


@pytest.fixture
def stored(environment: dict[str, str]) -> Iterator[Stored]:
    opened = Stored(environment["DATABASE_URL"])
    opened.add_worker_and_beat()
    yield opened
    opened.close()


def add_authorized(stored: Stored, session_id: str, *, minutes_left: float, lapsed: bool = False):
    """Completed with a token, and no order yet."""
    stored.add_session(
        session_id, status="COMPLETED", outcome="completed", finished_at="now", next_poll_at=None
    )
    stored.rows(
        "UPDATE payment_sessions SET authorization_expires_at = e,"
        " next_warning_at = CASE WHEN NOT %s THEN e END,"
        " authorization_lapsed_at = CASE WHEN %s THEN e END"
        " FROM (SELECT clock_timestamp() + %s * interval '1 min' AS e) AS f WHERE session_id = %s",
        lapsed,
        lapsed,
        minutes_left,
        session_id,
    )


def test_confirming_by_hand_is_printed_and_again_is_fine(
    environment: dict[str, str], stored: Stored
):
    add_authorized(stored, "s1", minutes_left=15)

    first = session_worker(environment, "confirm", "s1", "order-1")
    again = session_worker(environment, "confirm", "s1", "order-1", "--json")

    assert (first.code, "Confirmed s1 with order order-1" in first.out) == (0, True)
    assert again.json() == {"session_id": "s1", "order_id": "order-1", "effect": "unchanged"}
    assert stored.session("s1")["confirmed_order_id"] == "order-1"
    shown = session_worker(environment, "show", "s1", "--json").json()
    assert (shown["confirmed_order_id"], shown["next_warning_at"]) == ("order-1", None)


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (("a/b", "order-1"), 2, "session_id: must be 1 to 128"),
        (("s1", ""), 2, "order_id: is missing"),
        (("s1", "x" * 256), 2, "order_id: must be printable text"),
        (("s1", "order-2"), 1, "order_id: is not the one that this session was confirmed with"),
    ],
)
def test_what_cannot_be_confirmed_is_one_line_and_changes_nothing(
    environment: dict[str, str],
    stored: Stored,
    arguments: tuple[str, ...],
    code: int,
    fault: str,
):
    stored.add_session("s1", confirmed_at="now", confirmed_order_id="order-1")
    before = stored.session("s1")

    ran = session_worker(environment, "confirm", *arguments)

    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert ran.err.startswith(fault)
    assert stored.session("s1") == before


def test_what_waits_for_its_order_is_listed_and_counted_by_the_time_left(
    environment: dict[str, str], stored: Stored
):
    add_authorized(stored, "s3", minutes_left=3)
    add_authorized(stored, "s9", minutes_left=9)
    add_authorized(stored, "s30", minutes_left=30)
    add_authorized(stored, "late", minutes_left=-3, lapsed=True)
    stored.add_session("open")
    stored.add_session("confirmed", confirmed_at="now", confirmed_order_id="order-1")

    listed = session_worker(environment, "list", "--unconfirmed", "--json").json()
    counted = session_worker(environment, "stats", "--json").json()["unconfirmed"]

    assert {row["session_id"] for row in listed} == {"s3", "s9", "s30", "late"}
    assert [(row["time_left"], row["sessions"]) for row in counted] == [
        ("lapsed", 1),
        ("up to 5 min", 1),
        ("up to 10 min", 1),
        ("more", 1),
    ]
    people = session_worker(environment, "list", "--unconfirmed")
    assert "authorization expires at" in people.out
    assert "up to 5 min" in session_worker(environment, "stats").out


def test_a_lapsed_authorization_is_unhealthy_until_somebody_confirms_it(
    environment: dict[str, str], stored: Stored
):
    add_authorized(stored, "waits", minutes_left=9)
    well = session_worker(environment, "health")
    add_authorized(stored, "late", minutes_left=-3, lapsed=True)
    add_authorized(stored, "long ago", minutes_left=-1500, lapsed=True)

    ill = session_worker(environment, "health")
    session_worker(environment, "confirm", "late", "order-1")

    assert (well.code, "orders: not confirmed yet: 1 with up to 10 min" in well.out) == (0, True)
    assert ill.code == 1
    assert "orders: 1 authorization lapsed in the last 24 h" in ill.out
    assert "such as late" in ill.out
    assert session_worker(environment, "health").code == 0


def test_a_warning_that_nobody_tells_is_a_fault(environment: dict[str, str], stored: Stored):
    add_authorized(stored, "s1", minutes_left=-5)

    ran = session_worker(environment, "health")

    assert ran.code == 1
    assert "warnings of missing orders: 1 due, the oldest for 3" in ran.out
