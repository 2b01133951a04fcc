"""Chaos experiments: a deployment with short waits, proxies before its servers, and figures."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from devkit.sandbox.accounts import DEFAULT_REQUESTS_PER_SECOND
from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.experiment import Experiment, Judge
from tests.support.figures import write_line
from tests.support.in_flight import recovery_seconds
from tests.support.tcp_proxy import TcpProxy

FAULTS_WAITS = {
    "HTTP_TIMEOUT_SECONDS": "5",
    "POLL_LEASE_SECONDS": "10",
    "POLL_MAX_INTERVAL_SECONDS": "1",
}
_EXPERIMENT = pytest.StashKey[Experiment]()


def pytest_configure(config: pytest.Config) -> None:
    """Register this folder's marker, for runs of this folder alone."""
    config.addinivalue_line("markers", "slow: takes over ten seconds; `bin/chaos` runs it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests out, unless `-m` says what to run."""
    if config.getoption("markexpr"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment, with the waits that decide how long a recovery takes."""
    return environment | FAULTS_WAITS


@pytest.fixture
def klarna(sandbox: SandboxClient) -> Iterator[SandboxClient]:
    """The mock Klarna server without a rate limit: only a fault slows it."""
    sandbox.set_limiter(0)
    yield sandbox
    sandbox.set_limiter(DEFAULT_REQUESTS_PER_SECOND)


@pytest.fixture
def deployment(
    environment: dict[str, str],
    tmp_path: Path,
    postgres: TcpProxy,  # noqa: ARG001 - it outlives the processes that it was given to
    valkey: TcpProxy,  # noqa: ARG001 - the proxy is in use
) -> Iterator[Deployment]:
    with deploy(environment, tmp_path) as deployed:
        yield deployed


@pytest.fixture
def experiment(
    deployment: Deployment, klarna: SandboxClient, request: pytest.FixtureRequest
) -> Experiment:
    made = Experiment(deployment, klarna)
    request.node.stash[_EXPERIMENT] = made
    return made


@pytest.fixture
def judge(klarna: SandboxClient, request: pytest.FixtureRequest) -> Judge:
    """Counts the cost of a fault, for tests that cause it themselves."""

    def count(deployment: Deployment, in_flight: list[str], *, since: datetime) -> None:
        experiment = request.node.stash[_EXPERIMENT] = Experiment(deployment, klarna)
        experiment.expected = dict.fromkeys(in_flight, "completed")
        experiment.count_in_flight(len(in_flight))
        experiment.judge(recovery_seconds(deployment, since))

    return count


@pytest.fixture
def postgres(environment: dict[str, str]) -> Iterator[TcpProxy]:
    """A proxy before Postgres, for processes that are given its address."""
    with TcpProxy(environment["DATABASE_URL"]) as proxy:
        yield proxy


@pytest.fixture
def valkey(environment: dict[str, str]) -> Iterator[TcpProxy]:
    """A proxy before Redis, for processes that are given its address."""
    with TcpProxy(environment["REDIS_URL"]) as proxy:
        yield proxy


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],  # noqa: ARG001 - the hook's signature
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the figures of each test that was run."""
    report = yield
    if report.when == "call" or report.failed:
        experiment = item.stash.get(_EXPERIMENT, None)
        write_line(
            item.name.removeprefix("test_").replace("_", " "),
            test=item.nodeid,
            passed=report.passed,
            figures=experiment.figures if experiment else None,
        )
    return report
