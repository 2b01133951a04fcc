"""Hostile servers, and the worker's inside over real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.listening import Listener, answer, say
from tests.hostile.scene import Scene, opened
from tests.support.databases import Databases
from tests.support.deployment import environment_of


@pytest.fixture(scope="module")
def klarna() -> Iterator[Listener]:
    """What the deployment takes for Klarna: the one allowed origin."""
    with Listener(say(answer(b'{"status": "WAITING"}'))) as listening:
        yield listening


@pytest.fixture(scope="module")
def hostile_environment(
    servers: tuple[str, str], databases: Databases, klarna: Listener
) -> Iterator[dict[str, str]]:
    database_url = databases.create()
    environment = environment_of(database_url, servers[1], klarna_url=klarna.origin)
    yield environment | {
        "HTTP_TIMEOUT_SECONDS": "5",
        "KLARNA_ACCOUNTS__OTHER__USERNAME": "other-user",
        "KLARNA_ACCOUNTS__OTHER__PASSWORD": "other-password",
        "KLARNA_ACCOUNTS__OTHER__BASE_URL": klarna.origin,
    }
    databases.drop(database_url)


@pytest.fixture(scope="module")
def shared_scene(hostile_environment: dict[str, str]) -> Iterator[Scene]:
    with opened(hostile_environment) as scene:
        yield scene


@pytest.fixture
def scene(shared_scene: Scene, klarna: Listener) -> Iterator[Scene]:
    """The shared scene, with nothing stored and nothing heard."""
    shared_scene.forget()
    klarna.heard()
    said = klarna.saying
    yield shared_scene
    klarna.saying = said
