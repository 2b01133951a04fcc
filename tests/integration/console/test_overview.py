"""What the console's overview says first, from what is stored: what can be saved, what was lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.console import LOGIN, console
from tests.support.stored import Stored
from worker.adapters.postgres.reports.console import ConsoleReports
from worker.adapters.postgres.reports.questions import DISCARDED
from worker.console.overview import Overview

AUTH = tuple(LOGIN.split(":"))


@pytest.fixture
def overview(database_url: str) -> Iterator[Overview]:
    with ConsoleReports(database_url) as reports:
        # Asked anew each time.
        yield Overview(reports, monotonic=iter(range(0, 1000, 10)).__next__)


def paid(stored: Stored, session_id: str, **columns: object) -> str:
    """A completed session, with times given in minutes from now."""
    ended: dict[str, Any] = {"status": "COMPLETED", "outcome": "completed", "finished_at": "now"}
    stored.add_session(session_id, **ended, next_poll_at=None)
    for name, minutes in columns.items():
        stored.rows(
            f"UPDATE payment_sessions SET {name} = now() + %s * interval '1 min'"  # noqa: S608
            " WHERE session_id = %s",
            minutes,
            session_id,
        )
    return session_id


def lapsed(stored: Stored, session_id: str, minutes_ago: float) -> str:
    """One whose authorization ran out without an order."""
    at = -minutes_ago
    return paid(stored, session_id, authorization_expires_at=at, authorization_lapsed_at=at)


def awaited(stored: Stored, session_id: str, minutes_left: float) -> str:
    """One whose order is waited for."""
    return paid(
        stored, session_id, authorization_expires_at=minutes_left, next_warning_at=minutes_left
    )


def given_up(stored: Stored, session_id: str, hours_ago: float, error: str = "HTTP 500") -> None:
    """A paid session that the webhook has not accepted."""
    paid(stored, session_id)
    event_type = "payment_session.order_placed"
    event_id = stored.add_message(session_id, 1, sinks=("webhook",), event_type=event_type)
    stored.rows(
        "UPDATE outbox_messages SET created_at = now() - interval '4 d' WHERE event_id = %s",
        event_id,
    )
    stored.rows(
        "UPDATE outbox_deliveries SET dead_at = now() - %s * interval '1 h', last_error = %s"
        " WHERE event_id = %s",
        hours_ago,
        error,
        event_id,
    )


def test_what_can_still_be_saved_comes_first(stored: Stored, overview: Overview):
    """Then what lapsed, the latest first; who has time yet is counted and is no alarm."""
    for number in range(12):
        lapsed(stored, f"lapsed-{number:02}", minutes_ago=60 + number)
    awaited(stored, "soon", minutes_left=9)
    awaited(stored, "soonest", minutes_left=4)
    awaited(stored, "has-time", minutes_left=55)

    figures = overview.figures()

    listed = [row["session_id"] for row in figures["without_order"]]
    assert listed == ["soonest", "soon", *(f"lapsed-{number:02}" for number in range(8))]
    counts = figures["without_order_counts"]
    assert (counts["lapsed"], counts["awaited"], counts["expiring"]) == (12, 3, 2)


def test_what_was_lost_before_the_weekend_is_still_reported(stored: Stored, overview: Overview):
    """Longer than a day ago it is counted apart; it never becomes 'none'."""
    lapsed(stored, "friday", minutes_ago=60 * 60)
    given_up(stored, "never-delivered", hours_ago=60)

    figures = overview.figures()

    counts = figures["without_order_counts"]
    assert (counts["lapsed"], counts["lapsed_before"], figures["undelivered_before"]) == (0, 1, 1)
    assert (figures["without_order"], figures["undelivered"]) == ([], [])


def test_what_a_person_gave_up_is_nothing_to_look_at(stored: Stored, overview: Overview):
    """`events discard` is a decision; a sink that gave up is not."""
    given_up(stored, "decided", hours_ago=1, error=DISCARDED)
    given_up(stored, "decided-before", hours_ago=60, error=DISCARDED)
    given_up(stored, "given-up", hours_ago=1)

    figures = overview.figures()

    assert [row["session_id"] for row in figures["undelivered"]] == ["given-up"]
    assert figures["undelivered_before"] == 0


def test_a_sink_that_is_not_sent_to_is_shown_though_nothing_waits_for_it(
    stored: Stored, overview: Overview
):
    """Disabled, or paused as it asked; one whose pause is over is as any other."""
    stored.add("webhook_endpoints", sink="gone", disabled_at="now", reason="HTTP 410")
    stored.add("webhook_endpoints", sink="held", held_until="tomorrow")
    stored.add("webhook_endpoints", sink="rested", held_until="yesterday")

    outbox = overview.figures()["outbox"]

    assert [(row["sink"], row["pending"], row["dead"]) for row in outbox] == [
        ("gone", 0, 0),
        ("held", 0, 0),
    ]
    assert outbox[0]["unavailable"]["reason"] == "HTTP 410"
    assert outbox[1]["unavailable"]["held_until"] is not None


def test_the_quota_used_is_the_polls_of_the_last_minute(stored: Stored, overview: Overview):
    """Read or failed, of open and finished sessions; by account, a second."""
    stored.add_session("s1", polled_seconds=[300, ~290, 270, 30], last_polled_at="now")
    paid(stored, "s2")
    stored.rows(
        "UPDATE payment_sessions SET polled_seconds = '{295}', last_polled_at = now()"
        " WHERE session_id = 's2'"
    )
    stored.add_session("s3", account="quiet", polled_seconds=[100])
    stored.rows("UPDATE payment_sessions SET tracked_at = now() - interval '300 s'")

    polls = overview.figures()["polls_per_second"]

    assert polls == {"default": pytest.approx(4 / 60), "quiet": 0}


def test_the_page_says_what_was_lost_and_when_it_was_asked(
    stored: Stored, database_url: str, tmp_path: Path
):
    """Not 'none' alone, and not in green."""
    lapsed(stored, "friday", minutes_ago=60 * 60)
    with console({"DATABASE_URL": database_url}, tmp_path / "log") as origin:
        page = httpx.get(origin, auth=AUTH, trust_env=False).text

    assert 'class="headline warn"' in page
    assert "1 lapsed without an order" in page
    assert "As of 20" in page
