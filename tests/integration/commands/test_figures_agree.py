"""health, stats, the console and the metrics' backlog give the same figures of one database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.command import session_worker
from tests.support.refused import add_refused
from tests.support.stored import Stored
from worker.adapters.postgres.reports.backlog import PostgresBacklog
from worker.adapters.postgres.reports.console import ConsoleReports
from worker.adapters.postgres.reports.questions import DISCARDED
from worker.console.overview import Overview
from worker.services.meter import Backlog, RefusedFigures

pytestmark = pytest.mark.anyio

HOUR = 3600
ENDED = {"status": "COMPLETED", "outcome": "completed", "finished_at": "now", "next_poll_at": None}


@dataclass(frozen=True)
class Asked:
    """What each of the four says."""

    backlog: Backlog
    stats: dict[str, list[dict[str, Any]]]
    overview: dict[str, Any]
    health: dict[str, int]

    def stats_of(self, question: str, key: str, figure: str) -> dict[str, Any]:
        """One figure of `stats` by the row's key."""
        return {row[key]: row[figure] for row in self.stats[question]}

    def health_of(self, subject: str) -> dict[str, int]:
        """The first number of each finding on `subject …`, by the rest of the subject."""
        return {
            name.removeprefix(subject): number
            for name, number in self.health.items()
            if name.startswith(subject)
        }


@pytest.fixture
async def asked(environment: dict[str, str], engine: AsyncEngine, stored: Stored) -> Asked:
    """Everything a figure could be wrong about, and the answers of all four."""
    add_due_sessions(stored)
    add_deliveries(stored)
    add_authorizations(stored)
    add_refusals(stored, environment["TOKEN_ENCRYPTION_KEYS"].split(","))
    with ConsoleReports(environment["DATABASE_URL"]) as reports:
        overview = Overview(reports, monotonic=lambda: 0.0).figures()
    findings = session_worker(environment, "health", "--json").json()["findings"]
    return Asked(
        backlog=await PostgresBacklog(engine, accounts=["default"]).read(),
        stats=session_worker(environment, "stats", "--json").json(),
        overview=overview,
        health={
            finding["subject"]: int(number[0])
            for finding in findings
            if (number := re.search(r"\d+", finding["text"]))
        },
    )


def add_due_sessions(stored: Stored) -> None:
    """Due, leased, later, paused, finished; of a configured account and of one that is not."""
    stored.add_account("paused", paused_for=HOUR)
    for number in range(3):
        stored.add_session(f"due-{number}", due_in=-HOUR)
        stored.add_session(f"paused-{number}", account="paused", due_in=-HOUR)
    for number in range(2):
        stored.add_session(f"other-{number}", account="other", due_in=-2 * HOUR)
    stored.add_session("later", due_in=HOUR)
    stored.rows(
        "UPDATE payment_sessions SET lease_id = gen_random_uuid(),"
        " lease_expires_at = now() + interval '1 h' WHERE session_id = 'due-1'"
    )


def add_deliveries(stored: Stored) -> None:
    """Payments that wait for one or two sinks, and dead ones: today's, older, given up by hand."""
    for number, sinks in enumerate([("waits",), ("waits", "waits_too"), ("waits",)]):
        add_delivery(stored, f"pending-{number}", sinks)
    for number, (age, error) in enumerate(
        [("1 h", "HTTP 500"), ("2 h", "HTTP 500"), ("1 h", DISCARDED), ("2 d", "HTTP 500")]
    ):
        event_id = add_delivery(stored, f"dead-{number}", ("dead",))
        stored.rows(
            "UPDATE outbox_deliveries SET dead_at = now() - %s::interval, last_error = %s"
            " WHERE event_id = %s",
            age,
            error,
            event_id,
        )
    event_id = add_delivery(stored, "delivered", ("waits",))
    stored.rows("UPDATE outbox_deliveries SET delivered_at = now() WHERE event_id = %s", event_id)
    stored.rows("UPDATE outbox_messages SET created_at = now() - interval '3 d'")
    # Replayed since: they have waited for an hour.
    stored.rows("UPDATE outbox_deliveries SET due_since = now() - interval '1 h'")


def add_delivery(stored: Stored, session_id: str, sinks: tuple[str, ...]) -> object:
    """A payment whose authorization goes to these sinks."""
    stored.add_session(session_id, **ENDED)
    return stored.add_message(session_id, 1, sinks=sinks, event_type="payment_session.authorized")


def add_authorizations(stored: Stored) -> None:
    """Awaited orders by the minutes left, and lapsed ones of today and before."""
    for number, minutes in enumerate((1, 4, 9, 15, 16, 19, 50)):
        add_authorization(stored, f"awaited-{number}", minutes, "next_warning_at")
    for number, minutes in enumerate((-60, -120, -3000)):
        add_authorization(stored, f"lapsed-{number}", minutes, "authorization_lapsed_at")


def add_authorization(stored: Stored, session_id: str, minutes: float, column: str) -> None:
    """An authorization that ends in so many minutes."""
    stored.add_session(session_id, **ENDED)
    stored.rows(
        f"UPDATE payment_sessions SET {column} = e, authorization_expires_at = e"  # noqa: S608
        " FROM (SELECT now() + %s * interval '1 min' AS e) AS f WHERE session_id = %s",
        minutes,
        session_id,
    )


def add_refusals(stored: Stored, keys: list[str]) -> None:
    """Some wait for a person, some are retried, in vain for ten minutes or not yet; one is over."""
    for hours_ago, next_try_at in ((2, None), (0, None), (1, "tomorrow"), (0, "tomorrow")):
        add_refused(stored, keys=keys, hours_ago=hours_ago, next_try_at=next_try_at)
    over = {"resolved_at": "now", "resolution": "taken", "arguments": None}
    add_refused(stored, keys=keys, hours_ago=2, **over)


async def test_due_sessions(asked: Asked):
    due = {"default": 3, "other": 2}

    assert {name: each.count for name, each in asked.backlog.due.items() if each.count} == due
    assert asked.stats_of("due", "account", "due") == due
    shown = asked.overview["due_by_account"]
    assert {name: row["due"] for name, row in shown.items()} == due
    assert asked.health_of("polls of ") == due
    assert asked.overview["due"] == sum(bar.count for bar in asked.overview["lag_bars"]) == 5


async def test_due_sessions_in_flight_and_the_oldest(asked: Asked):
    in_flight = {"default": 1, "other": 0}
    oldest = {"default": pytest.approx(HOUR, abs=60), "other": pytest.approx(2 * HOUR, abs=60)}
    due = {name: each for name, each in asked.backlog.due.items() if each.count}
    shown = asked.overview["due_by_account"]

    assert {name: each.under_way for name, each in due.items()} == in_flight
    assert asked.stats_of("due", "account", "in_flight") == in_flight
    assert {name: row["in_flight"] for name, row in shown.items()} == in_flight
    assert {name: each.oldest_seconds for name, each in due.items()} == oldest
    assert asked.stats_of("due", "account", "oldest_seconds") == oldest
    assert {name: row["oldest_seconds"] for name, row in shown.items()} == oldest


async def test_deliveries_that_wait(asked: Asked):
    waiting = {"dead": 0, "waits": 3, "waits_too": 1}
    oldest = {
        name: pytest.approx(HOUR, abs=60) if count else None for name, count in waiting.items()
    }
    shown = {row["sink"]: row for row in asked.overview["outbox"]}
    sinks = asked.backlog.sinks

    assert {name: each.waiting.count for name, each in sinks.items()} == waiting
    assert asked.stats_of("outbox", "sink", "waiting") == waiting
    assert {name: row["pending"] for name, row in shown.items()} == waiting
    assert asked.health_of("events to ") == waiting | {"dead": 2}
    assert {name: each.waiting.oldest_seconds or None for name, each in sinks.items()} == oldest
    assert asked.stats_of("outbox", "sink", "oldest_seconds") == oldest
    assert {name: row["oldest_seconds"] for name, row in shown.items()} == oldest


async def test_dead_deliveries(asked: Asked):
    """An alarm counts the last day's but those given up by hand; the lists count all."""
    shown = {row["sink"]: row["dead"] for row in asked.overview["outbox"]}

    assert asked.backlog.sinks["dead"].dead_lettered == asked.health_of("events to ")["dead"] == 2
    assert asked.stats_of("outbox", "sink", "dead")["dead"] == shown["dead"] == 4


async def test_undelivered_payments(asked: Asked):
    """A payment counts once, however many sinks have not got it."""
    listed = {row["session_id"] for row in asked.overview["undelivered"]}

    assert asked.backlog.undelivered == asked.overview["undelivered_count"] == len(listed) == 5


async def test_authorizations_without_an_order(asked: Asked):
    by_minutes = {"up to 5 min": 2, "up to 10 min": 1, "up to 20 min": 3, "more": 1}
    counts = asked.overview["without_order_counts"]

    assert asked.backlog.unconfirmed == {"5": 2, "10": 1, "20": 3, "60": 1}
    assert asked.stats_of("unconfirmed", "time_left", "sessions") == by_minutes | {"lapsed": 3}
    assert (counts["awaited"], counts["expiring"]) == (7, 6)
    assert asked.backlog.lapsed == counts["lapsed"] == asked.health["orders"] == 2
    assert counts["lapsed"] + counts["lapsed_before"] == 3


async def test_refused_messages(asked: Asked):
    (row,) = asked.stats["refused_messages"]
    shown = asked.overview["refused"]

    assert asked.backlog.refused == RefusedFigures(waiting=2, retried_in_vain=1)
    assert (row["waiting"], row["retried_in_vain"], row["retried"]) == (2, 1, 2)
    assert (shown["waiting"], shown["retried_in_vain"]) == (2, 1)


async def test_without_refused_messages_the_other_figures_are_known(
    engine: AsyncEngine, stored: Stored
):
    """Before its migration: beat may be newer than the database."""
    stored.rows("DROP TABLE refused_messages")
    stored.add_session("s1")

    backlog = await PostgresBacklog(engine, accounts=["default"]).read()

    assert backlog.refused is None
    assert backlog.due["default"].count == 1
