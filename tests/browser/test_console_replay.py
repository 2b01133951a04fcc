"""Who may look at the console, and what its one button does: in a browser and past one."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.browser import Browser
from tests.support.console import LOGIN
from tests.support.console_data import ConsoleData
from tests.support.stored import Stored

USER, _, PASSWORD = LOGIN.partition(":")
DEAD_PAGE = "/deliveries/dead"


@pytest.fixture
def stored(database: str) -> Iterator[Stored]:
    opened = Stored(database)
    yield opened
    opened.close()


@pytest.fixture
def visitor(console: str) -> Iterator[httpx.Client]:
    """A program that knows the login and keeps cookies, as a browser does."""
    with httpx.Client(base_url=console, auth=(USER, PASSWORD), trust_env=False) as client:
        yield client


def button(event_id: object) -> str:
    """The replay button of an event."""
    return f"form:has(input[value='{event_id}']) button"


def form_of(page: str) -> dict[str, str]:
    """What the page's first form would send."""
    fields = {}
    for name in ("csrf", "event_id", "sink"):
        _, _, rest = page.partition(f'name="{name}" value="')
        fields[name] = rest.partition('"')[0]
    return fields


@pytest.mark.parametrize("path", ["/", "/sessions", DEAD_PAGE, "/refused", "/static/console.css"])
@pytest.mark.parametrize("auth", [None, (USER, "guessed"), ("somebody", PASSWORD), (USER, "")])
def test_nothing_is_shown_without_the_login(console: str, path: str, auth: tuple[str, str] | None):
    """The answer asks for a login, and tells nothing else."""
    answer = httpx.get(console + path, auth=auth, trust_env=False)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert len(answer.text) < 40


def test_a_browser_with_a_wrong_login_is_refused(browser: Browser):
    """As a person sees it."""
    browser.log_in("operator:guessed")

    assert "A login" not in browser.open("/sessions")
    assert browser.status() == 401


@pytest.mark.parametrize("header", ["Basic !", "Basic b3BlcmF0b3I=", "Bearer x", "Basic /////w=="])
def test_a_login_that_is_none_is_refused(console: str, header: str):
    """Whatever is sent instead of one."""
    answer = httpx.get(console, headers={"Authorization": header}, trust_env=False)

    assert answer.status_code == 401


def test_every_answer_tells_browsers_what_not_to_do(visitor: httpx.Client):
    """No script, no frame, nothing from elsewhere, nothing kept: on pages, refusals and faults."""
    for path in ("/", "/sessions/nobody", "/nowhere", "/static/console.css"):
        headers = visitor.get(path).headers

        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"


def test_the_button_makes_the_delivery_due_again(
    browser: Browser, console_data: ConsoleData, stored: Stored
):
    """A person presses it; the event is due under its old id, and the page says so."""
    browser.open(DEAD_PAGE)

    browser.click(button(console_data.dead))

    text = browser.wait_for("is due again")
    browser.screenshot("console-replayed")
    assert str(console_data.dead) in text
    delivery = stored.delivery(console_data.dead, "webhook")
    assert (delivery["dead_at"], delivery["attempts"]) == (None, 0)
    browser.open(DEAD_PAGE)
    assert "order-1702" not in browser.text()


def test_the_button_makes_a_refused_message_due(
    browser: Browser,
    console_data: ConsoleData,  # noqa: ARG001 - it is in the database
    stored: Stored,
):
    """A worker tries it; the page says so."""
    waiting = "SELECT refused_id FROM refused_messages WHERE field = 'session_url'"
    refused_id = stored.value(waiting)
    browser.open("/refused")

    browser.click(button(refused_id))

    assert f"Message {refused_id} is due" in browser.wait_for("a worker tries it again")
    assert stored.value(f"{waiting} AND next_try_at <= now()") == refused_id


def test_an_authorization_without_its_token_is_not_sent_by_a_button(
    browser: Browser, console_data: ConsoleData, stored: Stored
):
    """It says why, and what to do by hand."""
    browser.open(DEAD_PAGE)

    browser.click(button(console_data.tokenless))

    assert "--without-token" in browser.wait_for("Not replayed")
    assert stored.delivery(console_data.tokenless, "webhook")["dead_at"] is not None


def test_a_form_from_elsewhere_is_refused(
    visitor: httpx.Client, console: str, console_data: ConsoleData, stored: Stored
):
    """No token, a wrong one, another browser's, no cookie, another site's page: nothing changes."""
    form = form_of(visitor.get(DEAD_PAGE).text)
    assert form["csrf"]
    with httpx.Client(base_url=console, auth=(USER, PASSWORD), trust_env=False) as other:
        theirs = form_of(other.get(DEAD_PAGE).text)["csrf"]
    attempts = [
        visitor.post("/deliveries/replay", data=form | {"csrf": ""}),
        visitor.post("/deliveries/replay", data=form | {"csrf": "guessed"}),
        visitor.post("/deliveries/replay", data=form | {"csrf": theirs}),
        visitor.post("/deliveries/replay", data=form, headers={"Sec-Fetch-Site": "cross-site"}),
        httpx.post(
            f"{console}/deliveries/replay", data=form, auth=(USER, PASSWORD), trust_env=False
        ),
        httpx.post(f"{console}/deliveries/replay", data=form, trust_env=False),
    ]

    assert [answer.status_code for answer in attempts] == [403, 403, 403, 403, 403, 401]
    assert stored.delivery(console_data.tokenless, "webhook")["dead_at"] is not None


def test_reading_a_page_changes_nothing(visitor: httpx.Client, console_data: ConsoleData):
    """The address of the button answers no GET; a form that is nonsense is refused."""
    form = form_of(visitor.get(DEAD_PAGE).text)

    assert visitor.get("/deliveries/replay", params=form).status_code == 405
    wrong = visitor.post("/deliveries/replay", data=form | {"event_id": "'; DROP TABLE"})
    assert wrong.status_code == 400
    long = visitor.post("/deliveries/replay", data=form | {"sink": "x" * 10_000})
    assert long.status_code == 413
    unknown = visitor.post("/deliveries/replay", data=form | {"sink": "nowhere"})
    assert (unknown.status_code, "replayed=nothing" in unknown.headers["Location"]) == (303, True)
    assert str(console_data.tokenless) in visitor.get(DEAD_PAGE).text
