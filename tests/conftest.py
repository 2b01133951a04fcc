"""Real servers for the tests: embedded ones, or those of the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis

from devkit.embedded import EmbeddedServers
from devkit.sandbox.server import SandboxClient, SandboxServer
from tests.hostile.bombs import PEAK
from tests.hostile.cases import PROPERTY
from tests.support.databases import Databases, memory
from tests.support.deployment import environment_of
from tests.support.processes import NO_ENV_FILE

# Nor a deployment's .env in the working directory.
os.environ.update(NO_ENV_FILE)
# No test reaches beyond this machine.
LOOPBACK = ["127.0.0.1", "::1", "localhost"]


def pytest_runtest_setup() -> None:
    from pytest_socket import socket_allow_hosts  # noqa: PLC0415 - patches sockets on import

    socket_allow_hosts(LOOPBACK, allow_unix_socket=True)


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[str, str]]:
    """Postgres and Redis URLs, one pair for each test process."""
    database_url = os.environ.get("TEST_DATABASE_URL")
    redis_url = os.environ.get("TEST_REDIS_URL")
    if redis_url:
        # Test processes side by side take a Redis database each.
        number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        redis_url = f"{redis_url.rstrip('/')}/{number}" if redis_url.count("/") < 4 else redis_url
    if database_url and redis_url:
        yield database_url, redis_url
        return
    with EmbeddedServers(
        postgres=not database_url, valkey=not redis_url, ephemeral_within=memory()
    ) as embedded:
        yield database_url or embedded.database_url, redis_url or embedded.redis_url


@pytest.fixture(scope="session")
def databases(servers: tuple[str, str]) -> Iterator[Databases]:
    made = Databases(servers[0])
    yield made
    made.close()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A migrated database of the test's own."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def redis_url(servers: tuple[str, str]) -> Iterator[str]:
    """An empty Redis of the test's own."""
    url = servers[1]
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def sandbox(sandbox_server: SandboxServer) -> SandboxClient:
    """The mock Klarna server, reset."""
    sandbox_server.client.reset()
    return sandbox_server.client


@pytest.fixture
def environment(database_url: str, redis_url: str, sandbox_server: SandboxServer) -> dict[str, str]:
    """A deployment's whole environment: nothing of the machine's but PATH and HOME."""
    return environment_of(database_url, redis_url, klarna_url=sandbox_server.url)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted and measured; test processes send it with their reports."""
    figures = [
        figure
        for report in terminalreporter.stats.get("passed", [])
        for figure in report.user_properties
    ]
    cases = [count for name, count in figures if name == PROPERTY]
    if cases:
        terminalreporter.write_line(f"hostile: {sum(cases)} cases in {len(cases)} parts")
    peaks = [mebibytes for name, mebibytes in figures if name == PEAK]
    if peaks:
        terminalreporter.write_line(f"hostile: {max(peaks)} MiB above idle with {len(peaks)} bombs")
