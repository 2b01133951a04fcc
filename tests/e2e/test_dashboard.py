"""The dashboard over a real run: worker and two beats, scraped by a real Prometheus."""

from __future__ import annotations

from pathlib import Path

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.flower import free_port
from tests.support.prometheus import Prometheus, prometheus, queries

UNCONFIRMED = "payment_sessions_unconfirmed_authorizations"


def test_every_query_of_the_dashboard_shows_data_and_no_rule_fails(
    deployment: Deployment, sandbox: SandboxClient, tmp_path: Path
):
    """Sessions are tracked, read, paid and delivered; then each panel has data."""
    ports = free_port(), free_port(), free_port()
    deployment.start("worker", METRICS_PORT=str(ports[0]))
    for port in ports[1:]:
        deployment.start("beat", METRICS_PORT=str(port))
    with prometheus(ports, tmp_path) as server:
        for steps in (
            [[0.5, "IN_PROGRESS"], [2.0, "COMPLETED"]],
            [[1.0, "CANCELLED"]],
            [[1.0, "IN_PROGRESS"], [60.0, "COMPLETED"]],
        ):
            created = sandbox.create_session(steps=steps, expires_in=600)
            deployment.track(created["session_id"])
        # Refused for now, and retried: no alert for the first ten minutes.
        deployment.track("of-another-release", account="not-configured-yet")

        undrawn = set(queries())

        def is_drawn() -> bool:
            undrawn.difference_update(_drawn(server, undrawn))
            return not undrawn

        try:
            eventually(is_drawn, within=60)
        except AssertionError:
            pytest.fail(f"no data for {sorted(undrawn)}")
        # Each beat tells of the one authorization: it is drawn and counted once.
        (unconfirmed,) = (query for title, query in queries() if title.startswith("Lapses within"))
        every = unconfirmed.replace("5|10", ".+")
        assert every != unconfirmed
        eventually(lambda: _numbers(server, f"count({UNCONFIRMED})") == ["8"])
        eventually(lambda: _numbers(server, every) == ["1"])
        rules = server.ask("/api/v1/rules")["groups"][0]["rules"]
        assert {rule["name"]: rule["health"] for rule in rules} == {
            rule["name"]: "ok" for rule in rules
        }
        assert not [rule["name"] for rule in rules if rule["state"] != "inactive"]


def _numbers(server: Prometheus, query: str) -> list[str]:
    return [series["value"][1] for series in server.result(query)]


def _drawn(server: Prometheus, wanted: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the queries that have values now."""
    return [
        (title, query)
        for title, query in wanted
        if any(series["value"][1] != "NaN" for series in server.result(query))
    ]
