"""`session-worker health`: what is a fault of the deployment, since when, and what is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.command import session_worker
from tests.support.databases import Databases, migrate
from tests.support.roles import Roles
from tests.support.stored import Stored
from worker.commands import checked_postgres

# The release before heartbeats.
BEFORE = "d7b3f1a86c52"
Findings = Callable[[], list[dict[str, Any]]]
Faults = Callable[[], list[str]]


@pytest.mark.usefixtures("running")
def test_nothing_is_wrong_where_both_are_seen(findings: Findings):
    found = {each["subject"]: each["text"] for each in findings()}

    assert found["worker"] == found["beat"] == "1 running 0.1.0"
    assert found["clock"] == "agrees with Postgres'"


# --- processes


def test_an_empty_table_is_no_worker_and_no_beat(health_faults: Faults):
    assert health_faults() == [
        f"{role}: none has ever been seen by this database: start one: `celery -A worker {role}`"
        for role in ("worker", "beat")
    ]


def test_what_was_seen_too_long_ago_is_named_with_since_when(stored: Stored, health_faults: Faults):
    stored.add_process("worker", seen_ago=50)
    stored.add_process("beat", seen_ago=40)
    seen = stored.value("SELECT seen_at FROM processes WHERE role = 'worker'")

    (fault,) = health_faults()

    assert fault.startswith(f"worker: none has been seen since {seen:%Y-%m-%dT%H:%M:%SZ} (5")
    assert "start one: `celery -A worker worker`, or restart one that hangs" in fault


def test_a_rolling_restart_pages_nobody(stored: Stored, health_faults: Faults):
    """The old ones stopped in order, or did not; the new ones are there, or come in a moment."""
    stored.add_process("worker", seen_ago=3600)
    stored.add_process("worker", seen_ago=30, stopped_at="now")
    stored.add_process("beat", seen_ago=44, stopped_at="now")
    stored.add_process("beat", seen_ago=2)

    assert health_faults() == []


# --- queues


def add_queue(stored: Stored, *, unchanged: float, looked: float = 2, waiting: int = 3) -> None:
    stored.rows(
        "INSERT INTO queues (queue, waiting, waiting_since, unchanged_since, looked_at)"
        " VALUES ('payment-sessions', %s, now() - interval '1 h', now() - %s * interval '1 s',"
        " now() - %s * interval '1 s')",
        waiting,
        unchanged,
        looked,
    )


def test_a_queue_that_stands_still(running: Stored, health_faults: Faults):
    add_queue(running, unchanged=50)
    since = running.value("SELECT unchanged_since FROM queues")

    (fault,) = health_faults()

    assert fault.startswith("queue payment-sessions: 3 messages wait, the oldest for at least 5")
    assert f"(since {since:%Y-%m-%dT%H:%M:%SZ})" in fault
    assert "restart the workers that read this queue" in fault


@pytest.mark.parametrize(
    ("unchanged", "looked"), [(40, 2), (600, 590)], ids=["moves", "was not looked at since"]
)
def test_a_queue_that_moves_or_that_nobody_looks_at(
    running: Stored, health_faults: Faults, unchanged: float, looked: float
):
    """A queue that is never empty is none that stands still."""
    add_queue(running, unchanged=unchanged, looked=looked)

    assert health_faults() == []


# --- refused messages, the clock


def add_refused(stored: Stored, task_id: str, *, received: str, **columns: object) -> None:
    defaults = {"task": "payment_sessions.track", "field": "account", "reason": "is unknown"}
    stored.add("refused_messages", task_id=task_id, body_hash=b"x", **(defaults | columns))
    stored.rows("UPDATE refused_messages SET received_at = now() - %s::interval", received)


def test_a_refused_message_that_waits_for_a_person(running: Stored, health_faults: Faults):
    """One line for each field and task."""
    for task_id in ("one", "two"):
        add_refused(running, task_id, received="30 s")
    add_refused(running, "three", received="30 s", field="session_id")

    account, session_id = health_faults()

    assert account.startswith(
        "refused messages of payment_sessions.track: 2 messages refused because of account, "
        "the oldest for 3"
    )
    assert "`session-worker refused list`" in account
    assert "1 message refused because of session_id" in session_id


@pytest.mark.parametrize(("received", "count"), [("9 min", 0), ("11 min", 1)])
def test_a_message_that_is_tried_again_has_ten_minutes(
    running: Stored, health_faults: Faults, received: str, count: int
):
    add_refused(running, "one", received=received, next_try_at="2040-01-01T00:00:00Z")

    assert len(health_faults()) == count


@pytest.mark.usefixtures("running")
def test_clocks_that_differ(health_faults: Faults, monkeypatch: pytest.MonkeyPatch):
    right = checked_postgres.clock.now()
    monkeypatch.setattr(checked_postgres.clock, "now", lambda: right.replace(year=right.year + 1))

    (fault,) = health_faults()

    assert fault.startswith("clock: this machine's clock is 3")


# --- the release before, and rights


def test_the_schema_of_the_release_before_is_one_line(
    environment: dict[str, str], databases: Databases
):
    old = databases.create_empty()
    migrate(old, BEFORE)
    older = environment | {"DATABASE_URL": old}

    health = session_worker(older, "health")
    check = session_worker(older, "check", "--json").json()

    assert (health.code, health.out) == (1, "")
    assert health.err.count("\n") == 1
    assert "run `alembic upgrade head`" in health.err
    (fault,) = [f["text"] for f in check["findings"] if not f["ok"]]
    assert fault.startswith(f"is at migration {BEFORE}, not ")


@pytest.mark.usefixtures("running")
def test_a_reader_suffices_and_a_stranger_is_told(environment: dict[str, str], database_url: str):
    roles = Roles(database_url)
    reader = session_worker(environment | {"DATABASE_URL": roles.url("reader")}, "health")
    shop = session_worker(environment | {"DATABASE_URL": roles.url("shop")}, "health")
    roles.drop()

    assert (reader.code, reader.err) == (0, "")
    assert (shop.code, shop.out, shop.err.count("\n")) == (1, "", 1)
    assert "its role is not allowed to do this; docs/roles.sql says which is" in shop.err
