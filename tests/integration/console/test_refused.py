"""The console's page of refused messages: what it shows, what it hides, and its button."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet

from tests.support.console import LOGIN, console
from tests.support.refused import add_early_confirmation, add_refused
from tests.support.roles import Roles
from tests.support.stored import Stored
from worker.adapters.postgres.reports.console import ConsoleReports
from worker.console.overview import Overview

AUTH = tuple(LOGIN.split(":"))
CANARY = "canary-in-the-arguments"
KEYS = [Fernet.generate_key().decode()]
ROWS = 50


@pytest.fixture
def roles(database_url: str) -> Iterator[Roles]:
    made = Roles(database_url)
    yield made
    made.drop()


@pytest.fixture
def reading(roles: Roles, tmp_path: Path) -> Iterator[httpx.Client]:
    """A visitor of a console that may only read."""
    with (
        console({"DATABASE_URL": roles.url("reader")}, tmp_path / "log") as origin,
        httpx.Client(base_url=origin, auth=AUTH, trust_env=False) as visitor,
    ):
        yield visitor


@pytest.fixture
def acting(roles: Roles, tmp_path: Path) -> Iterator[httpx.Client]:
    """A visitor of a console with CONSOLE_REPLAY and the least roles."""
    settings = {
        "DATABASE_URL": roles.url("worker"),
        "CONSOLE_DATABASE_URL": roles.url("reader"),
        "CONSOLE_REPLAY": "true",
    }
    with (
        console(settings, tmp_path / "log") as origin,
        httpx.Client(base_url=origin, auth=AUTH, trust_env=False) as visitor,
    ):
        yield visitor


def csrf_of(page: str) -> str:
    """The token in the page's first form."""
    return page.partition('name="csrf" value="')[2].partition('"')[0]


def is_due(stored: Stored, refused_id: int) -> bool:
    """Whether a worker tries it now."""
    query = "SELECT next_try_at IS NOT NULL FROM refused_messages WHERE refused_id = %s"
    return bool(stored.value(query, refused_id))


def test_it_lists_why_and_what_waits_and_no_arguments(reading: httpx.Client, stored: Stored):
    add_refused(stored, CANARY, keys=KEYS, session_id="the-session", reference="<b>order</b>")
    add_refused(stored, keys=KEYS, field="account", next_try_at="tomorrow", attempts=2)
    add_refused(
        stored, keys=KEYS, field="gone", resolution="dropped", resolved_at="now", arguments=None
    )

    page = reading.get("/refused").text

    assert "the-session" in page
    assert "&lt;b&gt;order" in page
    assert "must be text" in page
    assert "waits for a person" in page
    assert "after 2 retries" in page
    assert "gone" not in page
    assert CANARY not in page
    assert ">Retry<" not in page


def test_a_long_list_has_pages(reading: httpx.Client, stored: Stored):
    added = {add_refused(stored, keys=KEYS, hours_ago=number) for number in range(ROWS + 2)}

    first = reading.get("/refused").text
    following = first.partition('href="/refused?after=')[2].partition('"')[0]
    second = reading.get(f"/refused?after={following.replace('&amp;', '&')}").text

    shown = [
        {each for each in added if f'data-label="Id">{each}<' in page} for page in (first, second)
    ]
    assert [len(each) for each in shown] == [ROWS, 2]
    assert shown[0] | shown[1] == added


def test_orders_of_sessions_that_nobody_tracks_are_shown_after_a_day(
    reading: httpx.Client, stored: Stored
):
    add_early_confirmation(stored, "fresh", hours_ago=23)
    add_early_confirmation(stored, "old", hours_ago=25)

    page = reading.get("/refused").text

    assert "order-of-old" in page
    assert "order-of-fresh" not in page
    assert "Orders were confirmed" in reading.get("/").text


def test_retry_makes_one_message_due_and_the_log_says_who(
    acting: httpx.Client, stored: Stored, tmp_path: Path
):
    refused_id, other = (add_refused(stored, keys=KEYS) for _ in range(2))
    csrf = csrf_of(acting.get("/refused").text)

    answer = acting.post("/refused/retry", data={"csrf": csrf, "refused_id": refused_id})

    assert answer.status_code == 303
    assert "is due" in acting.get(answer.headers["Location"]).text
    assert (is_due(stored, refused_id), is_due(stored, other)) == (True, False)
    (logged,) = [
        line for line in (tmp_path / "log").read_text().splitlines() if "retry_requested" in line
    ]
    assert "operator" in logged


def test_a_message_without_arguments_cannot_be_retried(acting: httpx.Client, stored: Stored):
    refused_id = add_refused(stored, keys=KEYS, arguments=None)
    csrf = csrf_of(acting.get("/refused").text)

    answer = acting.post("/refused/retry", data={"csrf": csrf, "refused_id": refused_id})

    assert "Not retried" in acting.get(answer.headers["Location"]).text
    assert not is_due(stored, refused_id)


@pytest.mark.parametrize("refused_id", ["", "x", "-1", "\u0661", str(2**63)])
def test_an_id_that_is_none_is_refused(acting: httpx.Client, stored: Stored, refused_id: str):
    add_refused(stored, keys=KEYS)
    csrf = csrf_of(acting.get("/refused").text)

    answer = acting.post("/refused/retry", data={"csrf": csrf, "refused_id": refused_id})

    assert answer.status_code == 400


def test_a_form_from_elsewhere_changes_nothing(acting: httpx.Client, stored: Stored):
    refused_id = add_refused(stored, keys=KEYS)
    csrf = csrf_of(acting.get("/refused").text)

    for csrf_sent, headers in (("", {}), ("made-up", {}), (csrf, {"Sec-Fetch-Site": "cross-site"})):
        form = {"csrf": csrf_sent, "refused_id": refused_id}
        assert acting.post("/refused/retry", data=form, headers=headers).status_code == 403

    assert not is_due(stored, refused_id)


def test_without_the_switch_it_refuses(reading: httpx.Client, stored: Stored):
    refused_id = add_refused(stored, keys=KEYS)

    assert reading.post("/refused/retry", data={"refused_id": refused_id}).status_code == 403


def test_the_overview_counts_what_needs_a_person(database_url: str, stored: Stored):
    """What time still heals needs none."""
    for _ in range(2):
        add_refused(stored, keys=KEYS)
    add_refused(stored, keys=KEYS, field="account", next_try_at="tomorrow", hours_ago=1)
    add_refused(stored, keys=KEYS, field="kind", next_try_at="tomorrow")

    with ConsoleReports(database_url) as reports:
        refused = Overview(reports, monotonic=lambda: 0.0).figures()["refused"]

    assert (refused["waiting"], refused["retried_in_vain"]) == (2, 1)
    assert [row["field"] for row in refused["rows"]] == ["account", "session_url"]
