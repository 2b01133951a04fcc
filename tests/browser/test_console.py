"""The console in a real browser: on a screen, on a phone, and without JavaScript."""

from __future__ import annotations

import pytest

from tests.support.browser import DESKTOP, PHONE, Browser
from tests.support.console_data import (
    CANARY,
    DEAD,
    FAILED,
    GONE,
    INJECTED,
    LAPSED,
    LONG,
    OPEN,
    ORDER_ID,
    PAID,
    REFERENCE,
    UNTRACKED,
)

# What each page must show, in every browser and with every setting.
PAGES = {
    "overview": (
        "/",
        [
            *("Paid, no order", LAPSED, "Is the worker keeping up?", "nordic"),
            *(GONE, "disabled since", "HTTP 410 Gone", "paused until"),
            *("4 messages not taken in", "Orders were confirmed"),
        ],
    ),
    "sessions-open": ("/sessions?state=open", [OPEN, "order-2050", "IN_PROGRESS"]),
    "sessions-finished": ("/sessions?state=finished", [LAPSED, "completed", "expired"]),
    "session-paid": (f"/sessions/{PAID}", ["History", REFERENCE, ORDER_ID, "webhook"]),
    "session-open": (f"/sessions/{OPEN}", ["History", "14 reads in total", "Next read"]),
    "session-dead": (f"/sessions/{DEAD}", ["given up", "answered 500"]),
    "session-long": (
        f"/sessions/{LONG}",
        ["A_LONG_NEW_WORD_OF_KLARNAS_OWN", "disabled", "HTTP 410 Gone"],
    ),
    "dead": ("/deliveries/dead", [DEAD, "order-1733", "answered 500", "Replay"]),
    "refused": (
        "/refused",
        [*("session_url", "waits for a person", "after 3 retries", "next try"), UNTRACKED, "Retry"],
    ),
    "not-found": ("/sessions/nobody", ["404", "nobody is not tracked"]),
}
SIZES = {"desktop": DESKTOP, "phone": PHONE}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", PAGES)
def test_every_page_fits_tells_and_makes_the_browser_complain_of_nothing(
    browser: Browser, page: str, size: str
):
    """No sideways scrolling, no refused resource, no token; everything it is for is there."""
    path, expected = PAGES[page]
    browser.resize(SIZES[size])

    text = browser.open(path)

    browser.screenshot(f"console-{page}-{size}")
    assert [part for part in expected if part not in text] == []
    assert browser.overflow() == 0
    assert browser.broken_words() == []
    assert browser.nameless() == []
    assert [line for line in browser.complaints() if "404 (Not Found)" not in line] == []
    assert CANARY not in browser.driver.page_source


@pytest.mark.parametrize("page", PAGES)
def test_reading_needs_no_javascript(browser: Browser, page: str):
    """The same is shown where scripts are not allowed."""
    browser.allow_scripts(allowed=False)
    path, expected = PAGES[page]

    text = browser.open(path)

    assert [part for part in expected if part not in text] == []


def test_what_others_wrote_is_shown_as_text(browser: Browser):
    """A reference and an error that are markup are read, not run."""
    for path in (
        f"/sessions/{FAILED}",
        f"/sessions/{DEAD}",
        "/deliveries/dead",
        "/refused",
        "/sessions",
    ):
        text = browser.open(path)

        assert INJECTED in text or path == "/sessions"
        assert not browser.script_ran()
    assert browser.complaints() == []


@pytest.mark.parametrize("sought", [PAID, REFERENCE, ORDER_ID])
def test_a_session_is_found_by_its_id_its_reference_and_its_order(browser: Browser, sought: str):
    """One that is found alone is shown at once."""
    browser.open("/")

    browser.type_into("#q", sought)
    browser.click(".search button")

    assert REFERENCE in browser.wait_for_path(f"/sessions/{PAID}")


def test_what_is_not_found_says_what_to_do(browser: Browser):
    """A search for markup or a quote is a search for text."""
    browser.open("/")

    sought = INJECTED + "'; DROP TABLE accounts"
    browser.type_into("#q", sought)
    browser.click(".search button")

    text = browser.wait_for("No match for")
    assert sought in text
    # Only what looks like one of Klarna's ids is worth tracking.
    assert "session-worker track" not in text
    assert not browser.script_ran()


def test_a_long_list_goes_on_on_the_next_page(browser: Browser):
    """Each session is on one page, and none is left out."""
    browser.open("/sessions?state=finished")
    seen = browser.text().count("crowd-")
    browser.open("/sessions?state=open")
    seen += browser.text().count("crowd-")
    assert "Next page" not in browser.text()

    assert seen == 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_by_day_and_by_night(browser: Browser, scheme: str):
    """Text and its ground differ enough, on every page."""
    browser.prefer(scheme)
    try:
        for page, (path, _) in PAGES.items():
            browser.open(path)
            browser.screenshot(f"console-{page}-{scheme}")

            assert (page, browser.faint()) == (page, [])
    finally:
        browser.prefer("light")
