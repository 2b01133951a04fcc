"""The dashboard over a real run: worker and beat, scraped by a real Prometheus."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.flower import free_port
from tests.support.prometheus import Prometheus, prometheus, queries
from worker.sandbox.server import SandboxClient


def test_every_query_of_the_dashboard_shows_data_and_no_rule_fails(
    deployment: Deployment, sandbox: SandboxClient, tmp_path: Path
):
    """Sessions are tracked, read, paid and told of; each panel then has something to draw."""
    ports = free_port(), free_port()
    deployment.start("worker", METRICS_PORT=str(ports[0]))
    deployment.start("beat", METRICS_PORT=str(ports[1]))
    with prometheus(ports, tmp_path) as server:
        for steps in (
            [[0.5, "IN_PROGRESS"], [2.0, "COMPLETED"]],
            [[1.0, "CANCELLED"]],
            [[1.0, "IN_PROGRESS"], [60.0, "COMPLETED"]],
        ):
            created = sandbox.create_session(steps=steps, expires_in=600)
            deployment.track(created["session_id"])

        undrawn = set(queries())

        def is_drawn() -> bool:
            undrawn.difference_update(_drawn(server, undrawn))
            return not undrawn

        try:
            eventually(is_drawn, within=60)
        except AssertionError:
            pytest.fail(f"no data for {sorted(undrawn)}")
        rules = server.ask("/api/v1/rules")["groups"][0]["rules"]
        assert {rule["name"]: rule["health"] for rule in rules} == {
            rule["name"]: "ok" for rule in rules
        }
        assert not [rule["name"] for rule in rules if rule["state"] != "inactive"]


def _drawn(server: Prometheus, wanted: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the queries that answer numbers now."""
    return [
        (title, query)
        for title, query in wanted
        if any(series["value"][1] != "NaN" for series in server.result(query))
    ]
