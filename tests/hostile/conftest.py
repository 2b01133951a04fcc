"""Hostile servers, and the worker's services over real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.in_process import InProcess, opened
from tests.hostile.listening import Listener, answer, say
from tests.support.databases import Databases
from tests.support.deployment import environment_of


@pytest.fixture(scope="module")
def klarna() -> Iterator[Listener]:
    """Klarna, at the base URL of the accounts `default` and `other`."""
    with Listener(say(answer(b'{"status": "WAITING"}'))) as listening:
        yield listening


@pytest.fixture(scope="module")
def klarna_abroad() -> Iterator[Listener]:
    """Another allowed origin, the base URL of the account `abroad`."""
    with Listener(say(answer(b'{"status": "WAITING"}'))) as listening:
        yield listening


@pytest.fixture(scope="module")
def hostile_environment(
    servers: tuple[str, str], databases: Databases, klarna: Listener, klarna_abroad: Listener
) -> Iterator[dict[str, str]]:
    database_url = databases.create()
    environment = environment_of(database_url, servers[1], klarna_url=klarna.origin)
    yield environment | {
        "HTTP_TIMEOUT_SECONDS": "5",
        "KLARNA_ALLOWED_ORIGINS": f"{klarna.origin},{klarna_abroad.origin}",
        "KLARNA_ACCOUNTS__ABROAD__USERNAME": "user-abroad",
        "KLARNA_ACCOUNTS__ABROAD__PASSWORD": "password-abroad",
        "KLARNA_ACCOUNTS__ABROAD__BASE_URL": klarna_abroad.origin,
        "KLARNA_ACCOUNTS__OTHER__USERNAME": "other-user",
        "KLARNA_ACCOUNTS__OTHER__PASSWORD": "other-password",
        "KLARNA_ACCOUNTS__OTHER__BASE_URL": klarna.origin,
    }
    databases.drop(database_url)


@pytest.fixture(scope="module")
def shared_in_process(hostile_environment: dict[str, str]) -> Iterator[InProcess]:
    with opened(hostile_environment) as in_process:
        yield in_process


@pytest.fixture
def in_process(shared_in_process: InProcess, klarna: Listener) -> Iterator[InProcess]:
    """The shared services, with nothing stored and no request received."""
    shared_in_process.forget()
    klarna.heard()
    said = klarna.saying
    yield shared_in_process
    klarna.saying = said
