"""No connection to Klarna: no address, no TLS, a foreign certificate.

The name server is `tests/support/shims`: it answers for one name, in the worker's process only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devkit.sandbox.server import SandboxClient, SandboxServer
from tests.support.certificates import self_signed
from tests.support.eventually import eventually
from tests.support.experiment import Experiment
from tests.support.tcp_proxy import TcpProxy

pytestmark = pytest.mark.slow

HOST = "klarna.test"
SHIMS = Path(__file__).parents[1] / "support" / "shims"


@dataclass(frozen=True)
class Way:
    """How a worker gets to Klarna: by name, through a proxy, over TLS."""

    server: SandboxServer
    proxy: TcpProxy
    certificate: str
    names_fail: Path

    @property
    def url(self) -> str:
        """Klarna's origin, as the worker knows it."""
        return f"https://{HOST}:{self.proxy.url.rpartition(':')[2]}"


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    certificate, key = self_signed(tmp_path, HOST)
    with (
        SandboxServer(certfile=certificate, keyfile=key, requests_per_second=0) as server,
        TcpProxy(server.url) as proxy,
    ):
        yield Way(server, proxy, certificate, tmp_path / "names-fail")


@pytest.fixture
def klarna(way: Way) -> SandboxClient:
    return way.server.client


@pytest.fixture
def environment(environment: dict[str, str], way: Way) -> dict[str, str]:
    return environment | {
        "KLARNA_BASE_URL": way.url,
        "KLARNA_ALLOWED_ORIGINS": way.url,
        "SSL_CERT_FILE": way.certificate,
        "PYTHONPATH": str(SHIMS),
        "SHIM_NAMES_FAIL": str(way.names_fail),
    }


def wait_until_all_fail(experiment: Experiment) -> None:
    eventually(
        lambda: not experiment.deployment.query(_READ_WELL),
        because="no session can be read",
    )
    # Then one after the other probes for all.
    before = experiment.deployment.query(_POLLS)[0]["polls"]
    eventually(
        lambda: experiment.deployment.query(_POLLS)[0]["polls"] >= before + 3,
        within=30,
        because="the account is probed again and again",
    )
    assert not experiment.deployment.query(
        "SELECT * FROM payment_sessions WHERE outcome IS NOT NULL"
    )


_POLLS = "SELECT sum(poll_count) AS polls FROM payment_sessions"
_READ_WELL = "SELECT session_id FROM payment_sessions WHERE last_error IS NULL"


def test_klarnas_name_is_not_resolved(experiment: Experiment, way: Way):
    way.names_fail.touch()
    experiment.start("worker", "beat")
    experiment.track()
    wait_until_all_fail(experiment)
    assert way.proxy.connections() == 0

    way.names_fail.unlink()
    experiment.fault_over()
    experiment.end()


def test_a_server_in_klarnas_place_has_no_tls(
    experiment: Experiment, way: Way, sandbox_server: SandboxServer
):
    experiment.start("worker", "beat")
    experiment.track()
    seen = len(sandbox_server.client.requests())

    way.proxy.lead_to(sandbox_server.url)
    wait_until_all_fail(experiment)
    assert len(sandbox_server.client.requests()) == seen, "the password was not sent"

    way.proxy.lead_to(way.server.url)
    experiment.fault_over()
    experiment.end()


def test_a_server_in_klarnas_place_has_another_certificate(
    experiment: Experiment, way: Way, tmp_path: Path
):
    other = tmp_path / "other"
    other.mkdir()
    certificate, key = self_signed(other, HOST)
    experiment.start("worker", "beat")
    experiment.track()

    with SandboxServer(certfile=certificate, keyfile=key) as impostor:
        way.proxy.lead_to(impostor.url)
        wait_until_all_fail(experiment)
        assert impostor.client.requests() == [], "the password was not sent"

    way.proxy.lead_to(way.server.url)
    experiment.fault_over()
    experiment.end()
