"""Debian's Prometheus: its tools, and a server that scrapes real processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.eventually import eventually
from tests.support.flower import free_port
from tests.support.node_projects import MUST_RUN
from tests.support.processes import Program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "config" / "grafana" / "dashboards" / "payment-sessions.json"


def program(name: str) -> str:
    """Return its path. Without it the test is skipped; under .ci/run it fails."""
    found = shutil.which(name)
    if found is None:
        refuse = pytest.fail if os.environ.get(MUST_RUN) else pytest.skip
        refuse(f"{name} is not installed: apt-get install prometheus")
    return str(found)


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels that show something."""
    every = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in every if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    """Every query of the dashboard, with its panel's title."""
    return [(panel["title"], each["expr"]) for panel in panels() for each in panel["targets"]]


def metrics_named(expression: str) -> set[str]:
    """The metrics of ours that an expression names."""
    return set(re.findall(r"\bpayment_sessions_\w+", expression))


class Prometheus:
    """A running server."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - its JSON
        """Return the `data` of the API's response."""
        url = f"{self._address}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of this machine
            return json.load(answer)["data"]

    def result(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of a query now; a rate is over the last 20 seconds."""
        asked = expression.replace("$__rate_interval", "20s")
        found: list[dict[str, Any]] = self.ask("/api/v1/query", query=asked)["result"]
        return found

    def is_up(self) -> bool:
        """Return whether it and each of its targets respond."""
        try:
            targets = self.ask("/api/v1/targets")["activeTargets"]
        except OSError:
            return False
        return bool(targets) and all(target["health"] == "up" for target in targets)


@contextmanager
def prometheus(ports: Sequence[int], folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes these ports each second and evaluates the project's rules."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": "payment-sessions",
                "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with Program(command, log_file=folder / "prometheus.log"):
        server = Prometheus(port)
        eventually(server.is_up, within=30, because="Prometheus has scraped every process")
        yield server
