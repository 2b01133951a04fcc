"""One browser and one filled console for the tests of this folder; they only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import DESKTOP, Browser
from tests.support.browser import browser as open_browser
from tests.support.console import LOGIN
from tests.support.console import console as run_console
from tests.support.console_data import ConsoleData, add_console_data
from tests.support.databases import Databases
from tests.support.stored import Stored


@pytest.fixture(scope="module")
def database(databases: Databases) -> Iterator[str]:
    """A migrated database for the tests of a file."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture(scope="module")
def console_data(database: str) -> ConsoleData:
    stored = Stored(database)
    made = add_console_data(stored)
    stored.close()
    return made


@pytest.fixture(scope="module")
def console(
    database: str,
    console_data: ConsoleData,  # noqa: ARG001 - it is in the database
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The origin of a console over the console_data, where replay is allowed."""
    log: Path = tmp_path_factory.mktemp("console") / "console.log"
    with run_console({"DATABASE_URL": database, "CONSOLE_REPLAY": "true"}, log) as origin:
        yield origin


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def browser(window: Browser, console: str) -> Browser:
    """A browser that is logged in to the console, at desktop width."""
    window.origin = console
    window.log_in(LOGIN)
    window.resize(DESKTOP)
    window.allow_scripts(allowed=True)
    window.complaints()
    return window
