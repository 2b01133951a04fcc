"""Roles, stored rows and the services over real servers, for tests of what may be seen of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.roles import Roles
from tests.support.stored import Stored
from tests.support.wired import OpenServices, opened_services


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def roles(database_url: str) -> Iterator[Roles]:
    """The roles of docs/roles.sql in the test's own database."""
    made = Roles(database_url)
    yield made
    made.drop()


@pytest.fixture
def stored(database_url: str) -> Iterator[Stored]:
    connection = Stored(database_url)
    yield connection
    connection.close()


@pytest.fixture
def services(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> OpenServices:
    """Opens the services in the environment, with these changes to it."""
    return lambda **changes: opened_services(environment | changes, monkeypatch)
