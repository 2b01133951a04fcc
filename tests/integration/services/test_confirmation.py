"""Confirmations and warnings over the real database: state with its event, once, and not later."""

from __future__ import annotations

from typing import Any

import anyio
import psycopg
import pytest

from tests.support.queues import relays
from tests.support.stored import Stored
from tests.support.wired import OpenServices, eventually_beside
from worker.domain.confirmation import ConfirmEffect
from worker.domain.errors import ConflictError
from worker.services.track import TrackArguments

pytestmark = pytest.mark.anyio


def add_authorized(
    stored: Stored, session_id: str = "s1", *, minutes_left: float, **columns: object
) -> None:
    """A session whose event `authorized` was sent, and whose clock strikes with 20 minutes left."""
    stored.add_session(
        session_id,
        status="COMPLETED",
        outcome="completed",
        finished_at="now",
        next_poll_at=None,
        event_count=1,
        **columns,
    )
    stored.add_message(session_id, 1, event_type="payment_session.authorized", due_in=600)
    stored.rows(
        "UPDATE payment_sessions SET authorization_expires_at = e,"
        " next_warning_at = e - interval '20 min'"
        " FROM (SELECT clock_timestamp() + %s * interval '1 min' AS e) AS f WHERE session_id = %s",
        minutes_left,
        session_id,
    )


def sent_after(stored: Stored, session_id: str = "s1") -> list[Any]:
    """What was sent after the authorization: the type's last word and the minutes."""
    rows = stored.rows(
        "SELECT event_type, payload FROM outbox_messages"
        " WHERE session_id = %s AND sequence > 1 ORDER BY sequence",
        session_id,
    )
    return [
        (row["event_type"].rpartition("_")[2], row["payload"]["data"].get("minutes_left"))
        for row in rows
    ]


@pytest.mark.parametrize(
    ("minutes_left", "event", "next_left"),
    [(25, None, 20), (18.5, ("expiring", 19), 10), (4.5, ("expiring", 5), 0)],
)
async def test_a_due_warning_is_written_with_the_next_ones_time(
    services: OpenServices,
    stored: Stored,
    minutes_left: float,
    event: tuple[str, int] | None,
    next_left: int,
):
    add_authorized(stored, minutes_left=minutes_left)

    async with services() as opened:
        assert await opened.confirmation.warn() == (1 if event else 0)
        assert await opened.confirmation.warn() == 0

    assert sent_after(stored) == ([event] if event else [])
    left = stored.value(
        "SELECT EXTRACT(epoch FROM authorization_expires_at - next_warning_at)::int"
        " FROM payment_sessions"
    )
    assert left == next_left * 60
    assert stored.session("s1")["event_count"] == (2 if event else 1)


async def test_too_late_is_reported_once_and_stays_to_be_seen(
    services: OpenServices, stored: Stored
):
    add_authorized(stored, minutes_left=-30)

    async with services() as opened:
        assert await opened.confirmation.warn() == 1
        assert await opened.confirmation.warn() == 0

    row = stored.session("s1")
    assert sent_after(stored) == [("lapsed", None)]
    assert row["authorization_lapsed_at"] is not None
    assert row["next_warning_at"] is None


async def test_several_beats_at_once_tell_each_session_once(services: OpenServices, stored: Stored):
    for number in range(30):
        add_authorized(stored, f"s{number}", minutes_left=15)

    async with services() as first, services() as second, anyio.create_task_group() as group:
        for opened in (first, second, first, second):
            group.start_soon(opened.confirmation.warn)

    assert [sent_after(stored, f"s{number}") for number in range(30)] == [[("expiring", 15)]] * 30


async def test_a_warning_wakes_the_relay_with_the_same_tick(
    services: OpenServices, stored: Stored, redis_url: str
):
    add_authorized(stored, minutes_left=15)
    stored.rows("UPDATE outbox_deliveries SET delivered_at = now()")

    async with services() as opened:
        await opened.dispatch.tick()

    assert relays(redis_url) == [["s1"]]


async def test_a_missing_order_is_noted_while_the_broker_is_away(
    services: OpenServices, stored: Stored
):
    """The log and the metrics tell of it, and the shop is notified when the broker is back."""
    add_authorized(stored, minutes_left=15)

    async with services(REDIS_URL="redis://127.0.0.1:9/0") as opened:
        await opened.dispatch.tick()

    assert sent_after(stored) == [("expiring", 15)]


async def test_a_shop_that_confirms_nothing_gets_no_warning(services: OpenServices, stored: Stored):
    """Nor is a clock from before that was said: it stops, and is not overdue for ever."""
    add_authorized(stored, minutes_left=15)
    add_authorized(stored, "s2", minutes_left=25)

    async with services(CONFIRMATION_EXPECTED="false") as opened:
        assert await opened.confirmation.warn() == 0
    async with services() as opened:
        assert await opened.confirmation.warn() == 0

    assert sent_after(stored) == []
    assert stored.session("s1")["next_warning_at"] is None
    assert stored.session("s2")["next_warning_at"] is not None


async def test_a_warning_that_cannot_be_written_whole_is_not_written_at_all(
    services: OpenServices, stored: Stored
):
    """The clock moves on with its event or not at all."""
    add_authorized(stored, minutes_left=15)
    stored.rows("UPDATE payment_sessions SET event_count = 0")
    before = stored.session("s1")

    async with services() as opened:
        with pytest.raises(Exception, match="outbox_messages"):
            await opened.confirmation.warn()

    assert stored.session("s1") == before


# --- confirming


@pytest.mark.parametrize("minutes_left", [15, -30])
async def test_a_confirmed_order_is_noted_and_nobody_is_warned_of_it(
    services: OpenServices, stored: Stored, minutes_left: float
):
    add_authorized(stored, minutes_left=minutes_left)

    async with services() as opened:
        effect = await opened.confirmation.confirm_order("s1", "order-1")
        assert await opened.confirmation.warn() == 0
        again = await opened.confirmation.confirm_order("s1", "order-1")

    row = stored.session("s1")
    assert (effect, again) == (ConfirmEffect.CONFIRMED, ConfirmEffect.UNCHANGED)
    assert (row["confirmed_order_id"], row["next_warning_at"]) == ("order-1", None)
    assert row["confirmed_at"] is not None
    assert sent_after(stored) == []


async def test_another_order_is_refused_and_changes_nothing(services: OpenServices, stored: Stored):
    add_authorized(stored, minutes_left=15)

    async with services() as opened:
        await opened.confirmation.confirm_order("s1", "order-1")
        before = stored.session("s1")
        with pytest.raises(ConflictError, match="order_id"):
            await opened.confirmation.confirm_order("s1", "order-2")

    assert stored.session("s1") == before


async def test_a_confirmation_before_its_session_is_applied_when_that_is_stored(
    services: OpenServices, stored: Stored
):
    async with services() as opened:
        effect = await opened.confirmation.confirm_order("s1", "order-1")
        again = await opened.confirmation.confirm_order("s1", "order-1")
        with pytest.raises(ConflictError, match="order_id"):
            await opened.confirmation.confirm_order("s1", "order-2")
        await opened.track.track(TrackArguments(session_id="s1"))

    row = stored.session("s1")
    assert (effect, again) == (ConfirmEffect.EARLY, ConfirmEffect.EARLY)
    assert row["confirmed_order_id"] == "order-1"
    assert row["confirmed_at"] <= row["tracked_at"]
    assert stored.rows("SELECT * FROM early_confirmations") == []


@pytest.mark.parametrize("confirmed", [None, "order-1"])
async def test_a_confirmation_that_missed_its_session_is_applied_by_the_next_look(
    services: OpenServices, stored: Stored, confirmed: str | None
):
    stored.add_session("s1", confirmed_at=confirmed and "now", confirmed_order_id=confirmed)
    stored.rows("INSERT INTO early_confirmations VALUES ('s1', 'order-1')")
    stored.rows("INSERT INTO early_confirmations VALUES ('nobody', 'order-1')")

    async with services() as opened:
        assert await opened.confirmation.apply_early() == 1
        assert await opened.confirmation.apply_early() == 0

    assert stored.session("s1")["confirmed_order_id"] == "order-1"
    assert stored.value("SELECT session_id FROM early_confirmations") == "nobody"


async def test_an_early_confirmation_that_contradicts_stays_to_be_seen(
    services: OpenServices, stored: Stored
):
    stored.add_session("s1", confirmed_at="now", confirmed_order_id="order-1")
    stored.rows("INSERT INTO early_confirmations VALUES ('s1', 'order-2')")

    async with services() as opened:
        assert await opened.confirmation.apply_early() == 0

    assert stored.value("SELECT order_id FROM early_confirmations") == "order-2"


async def test_a_confirmation_while_the_warning_is_written_waits_and_holds(
    services: OpenServices, stored: Stored, database_url: str
):
    """Whichever comes first: a confirmed order is warned of no more."""
    add_authorized(stored, minutes_left=15)

    async with services() as opened, anyio.create_task_group() as group:
        with psycopg.connect(database_url) as locking:
            locking.execute("LOCK TABLE outbox_messages IN EXCLUSIVE MODE")
            group.start_soon(opened.confirmation.warn)
            await eventually_beside(lambda: waiting(stored) == 1)
            group.start_soon(opened.confirmation.confirm_order, "s1", "order-1")
            await eventually_beside(lambda: waiting(stored) == 2)
            locking.rollback()

    row = stored.session("s1")
    written_at = stored.value("SELECT created_at FROM outbox_messages WHERE sequence = 2")
    assert (row["confirmed_order_id"], row["next_warning_at"]) == ("order-1", None)
    assert written_at < row["confirmed_at"]


def waiting(stored: Stored) -> int:
    return stored.value(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
