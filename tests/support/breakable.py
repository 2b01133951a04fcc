"""A deployment with its own Postgres and Valkey, for tests that kill servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devkit.embedded import EmbeddedServers
from devkit.sandbox.server import SandboxClient
from tests.support.databases import migrate
from tests.support.deployment import Deployment, deployment, environment_of

# The shortest lease that a request of five seconds allows, and polls in quick succession.
QUICK = {
    "POLL_LEASE_SECONDS": "10",
    "HTTP_TIMEOUT_SECONDS": "5",
    "POLL_MAX_INTERVAL_SECONDS": "1",
}


@contextmanager
def breakable_deployment(
    sandbox: SandboxClient, folder: Path
) -> Iterator[tuple[Deployment, EmbeddedServers]]:
    """A deployment and the servers that it alone uses."""
    with EmbeddedServers() as servers:
        migrate(servers.database_url)
        environment = environment_of(
            servers.database_url, servers.redis_url, klarna_url=sandbox.url
        )
        with deployment(environment | QUICK, folder) as deployed:
            yield deployed, servers
