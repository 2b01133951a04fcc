"""Deployments: one for a test that breaks it, or one that the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from devkit.sandbox.server import SandboxClient, SandboxServer
from tests.support.databases import Databases
from tests.support.deployment import Deployment, environment_of
from tests.support.deployment import deployment as deploy


@pytest.fixture
def deployment(environment: dict[str, str], tmp_path: Path) -> Iterator[Deployment]:
    with deploy(environment, tmp_path) as deployed:
        yield deployed


@pytest.fixture(scope="module")
def klarna(sandbox_server: SandboxServer) -> SandboxClient:
    """The mock Klarna server, reset for the tests of a file: each uses its own sessions."""
    sandbox_server.client.reset()
    return sandbox_server.client


@pytest.fixture(scope="module")
def shared_environment(
    servers: tuple[str, str], databases: Databases, sandbox_server: SandboxServer
) -> Iterator[dict[str, str]]:
    """The fixture `environment`, for the tests of a file."""
    database_url = databases.create()
    with redis.Redis.from_url(servers[1]) as client:
        client.flushdb()
        yield environment_of(database_url, servers[1], klarna_url=sandbox_server.url)
        client.flushdb()
    databases.drop(database_url)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """A folder that the account Postgres runs as can reach."""
    folder = tmp_path / "t"
    folder.mkdir()
    for each in (folder, *folder.parents):
        if each.is_relative_to("/tmp") and each != Path("/tmp"):  # noqa: S108 - where pytest works
            each.chmod(each.stat().st_mode | 0o011)
    return folder
