"""`session-worker refused`: what was not taken in, listed, retried and dropped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from tests.support.command import Ran
from tests.support.refused import add_early_confirmation, add_refused
from tests.support.roles import Roles
from tests.support.stored import Stored
from worker.adapters import clock
from worker.cli import app

CANARY = "canary-in-the-arguments"


@pytest.fixture
def stored(environment: dict[str, str]) -> Iterator[Stored]:
    opened = Stored(environment["DATABASE_URL"])
    yield opened
    opened.close()


@pytest.fixture
def keys(environment: dict[str, str]) -> list[str]:
    return environment["TOKEN_ENCRYPTION_KEYS"].split(",")


@pytest.fixture
def reading(database_url: str, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment of a person who may only read."""
    roles = Roles(database_url)
    yield environment | {"DATABASE_URL": roles.url("reader")}
    roles.drop()


def refused(environment: dict[str, str], *arguments: str) -> Ran:
    """Run the command in this process: each start of Python costs a second."""
    ended = CliRunner().invoke(app, ["refused", *arguments], env=environment)
    return Ran(ended.exit_code, ended.stdout, ended.stderr)


def message(stored: Stored, refused_id: int) -> dict[str, Any]:
    """The stored row."""
    (row,) = stored.rows("SELECT * FROM refused_messages WHERE refused_id = %s", refused_id)
    return row


def is_due(stored: Stored, refused_id: int) -> bool:
    """Whether a worker tries it now."""
    return bool(
        stored.value(
            "SELECT COALESCE(next_try_at <= now(), false) FROM refused_messages"
            " WHERE refused_id = %s",
            refused_id,
        )
    )


# --- list, show


def test_list_filters_by_what_waits_by_task_and_by_field(
    environment: dict[str, str], stored: Stored, keys: list[str]
):
    waits = add_refused(stored, CANARY, keys=keys, session_id="s1", hours_ago=3)
    healing = add_refused(stored, keys=keys, field="account", next_try_at="tomorrow", hours_ago=2)
    other = add_refused(stored, keys=keys, task="other.task", field="task", hours_ago=1)
    ended = add_refused(stored, keys=keys)
    refused(environment, "drop", str(ended), "--yes")

    def listed(*options: str) -> list[int]:
        rows = refused(environment, "list", "--json", *options).json()
        return [row["refused_id"] for row in rows]

    assert listed() == [other, healing, waits]
    assert listed("--resolved") == [ended, other, healing, waits]
    assert listed("--waiting") == [other, waits]
    assert listed("--task", "track") == [healing, waits]
    assert listed("--task", "other.task") == [other]
    assert listed("--field", "account") == [healing]
    assert listed("--limit", "1") == [other]
    assert CANARY not in refused(environment, "list", "--json").out


def test_list_tells_why_and_what_follows(
    environment: dict[str, str], stored: Stored, keys: list[str]
):
    add_refused(stored, keys=keys, session_id="the-session")
    add_refused(stored, keys=keys, next_try_at="tomorrow")

    said = refused(environment, "list").out

    assert "session_url: must be text" in said
    assert "the-session" in said
    assert "waits for a person" in said
    assert "next try" in said


def test_the_reader_may_list_and_show_and_nothing_else(
    reading: dict[str, str], stored: Stored, keys: list[str]
):
    refused_id = add_refused(stored, CANARY, keys=keys)

    shown = refused(reading, "show", str(refused_id), "--json")

    assert [row["refused_id"] for row in refused(reading, "list", "--json").json()] == [refused_id]
    assert shown.json()["field"] == "session_url"
    assert "arguments" not in shown.json()
    for arguments in (("show", "--arguments"), ("retry", "--yes"), ("drop", "--yes")):
        ran = refused(reading, arguments[0], str(refused_id), *arguments[1:])
        assert (ran.code, ran.out) == (1, "")
        assert "its role is not allowed to do this" in ran.err
        assert CANARY not in ran.err


def test_show_decrypts_the_arguments_on_request_only(
    environment: dict[str, str], stored: Stored, keys: list[str]
):
    refused_id = str(add_refused(stored, CANARY, keys=keys))

    assert CANARY not in refused(environment, "show", refused_id).out
    assert CANARY in refused(environment, "show", refused_id, "--arguments").out
    shown = refused(environment, "show", refused_id, "--arguments", "--json").json()
    assert shown["arguments"]["args"] == [CANARY]
    assert shown["waits_for_person"]


def test_arguments_that_no_key_decrypts_are_a_fault_in_one_line(
    environment: dict[str, str], stored: Stored
):
    refused_id = add_refused(stored, CANARY, keys=[Fernet.generate_key().decode()])

    ran = refused(environment, "show", str(refused_id), "--arguments")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("TOKEN_ENCRYPTION_KEYS: no key decrypts")


@pytest.mark.parametrize("refused_id", ["1", str(2**70)])
@pytest.mark.parametrize("command", ["show", "retry", "drop"])
def test_an_unknown_id_is_refused(environment: dict[str, str], command: str, refused_id: str):
    ran = refused(environment, command, refused_id)

    assert ran.code in {1, 2}
    assert "no " in ran.err
    assert "Traceback" not in ran.err


# --- retry, drop


def test_retry_makes_messages_due_and_leaves_the_others(
    environment: dict[str, str], stored: Stored, keys: list[str]
):
    waits, other = (add_refused(stored, keys=keys) for _ in range(2))
    healing = add_refused(stored, keys=keys, next_try_at="tomorrow")

    assert refused(environment, "retry", str(waits), str(healing), "--yes").code == 0

    assert [is_due(stored, each) for each in (waits, healing, other)] == [True, True, False]


def test_retry_by_filter_asks_first_and_says_how_many(
    environment: dict[str, str], stored: Stored, keys: list[str]
):
    for _ in range(3):
        add_refused(stored, keys=keys, field="reference")
    other = add_refused(stored, keys=keys)

    asked = refused(environment, "retry", "--field", "reference")
    done = refused(environment, "retry", "--field", "reference", "--yes", "--json").json()

    assert asked.code == 1
    assert "Retry 3 refused messages?" in asked.err
    assert done == {"retried": 3, "without_arguments": []}
    assert not is_due(stored, other)


def test_retry_waits_for_a_try_that_may_be_under_way(
    environment: dict[str, str], stored: Stored, keys: list[str]
):
    """A worker has claimed it for a minute: two tries at once could pass each other."""
    now = clock.now()
    claimed = add_refused(
        stored, keys=keys, last_tried_at=now, next_try_at=now + timedelta(minutes=1)
    )

    refused(environment, "retry", str(claimed), "--yes")

    assert message(stored, claimed)["next_try_at"] > now + timedelta(seconds=50)


def test_what_has_no_arguments_any_more_is_not_retried_but_can_be_dropped(
    environment: dict[str, str], stored: Stored, keys: list[str]
):
    gone = add_refused(stored, keys=keys, arguments=None)

    retried = refused(environment, "retry", "--waiting", "--yes")
    dropped = refused(environment, "drop", "--waiting", "--yes")

    assert "1 refused message skipped" in retried.out
    assert not is_due(stored, gone)
    assert "1 refused message dropped" in dropped.out


def test_a_dropped_message_keeps_no_arguments(
    environment: dict[str, str], stored: Stored, keys: list[str]
):
    refused_id = add_refused(stored, CANARY, keys=keys, next_try_at="tomorrow")

    assert refused(environment, "drop", str(refused_id), "--yes", "--json").json() == {"dropped": 1}

    row = message(stored, refused_id)
    assert (row["resolution"], row["arguments"], row["next_try_at"]) == ("dropped", None, None)
    assert row["argument_hashes"] == []
    assert refused(environment, "drop", str(refused_id), "--yes").code == 1
    assert "dropped" in refused(environment, "show", str(refused_id)).out


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_all_at_once_is_never_meant(
    environment: dict[str, str], stored: Stored, keys: list[str], command: str
):
    refused_id = add_refused(stored, keys=keys)

    ran = refused(environment, command, "--yes")

    assert ran.code == 2
    assert ran.err.startswith("Name the messages by id")
    assert message(stored, refused_id)["resolved_at"] is None


# --- confirmations


def test_confirmations_of_sessions_that_nobody_tracked_are_shown_after_a_day(
    reading: dict[str, str], stored: Stored
):
    add_early_confirmation(stored, "fresh", hours_ago=23)
    assert "refused confirmations" not in refused(reading, "list").out
    add_early_confirmation(stored, "old", hours_ago=25)

    rows = refused(reading, "confirmations", "--json").json()

    assert [(row["session_id"], row["order_id"]) for row in rows] == [("old", "order-of-old")]
    assert "order-of-old" in refused(reading, "confirmations").out
    assert "refused confirmations" in refused(reading, "list").out


def test_stats_counts_by_task_and_field(
    environment: dict[str, str], stored: Stored, keys: list[str]
):
    add_refused(stored, keys=keys)
    add_refused(stored, keys=keys, next_try_at="tomorrow")
    add_refused(stored, keys=keys, next_try_at="tomorrow", hours_ago=1)

    ended = CliRunner().invoke(app, ["stats", "--json"], env=environment)
    (row,) = Ran(ended.exit_code, ended.stdout, ended.stderr).json()["refused_messages"]

    assert (row["task"], row["field"]) == ("payment_sessions.track", "session_url")
    assert (row["waiting"], row["retried"], row["retried_in_vain"]) == (1, 2, 1)
    assert row["oldest_seconds"] == pytest.approx(3600, abs=60)
