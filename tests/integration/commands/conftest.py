"""What several tests of `health` ask."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.stored import Stored
from worker.cli import app

Findings = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def running(stored: Stored) -> Stored:
    """A worker and a beat are seen."""
    stored.add_worker_and_beat()
    return stored


@pytest.fixture
def findings(environment: dict[str, str]) -> Findings:
    """What `health` says now."""

    def look() -> list[dict[str, Any]]:
        ran = CliRunner().invoke(app, ["health", "--json"], env=environment)
        found: list[dict[str, Any]] = json.loads(ran.stdout)["findings"]
        assert ran.exit_code == int(not all(each["ok"] for each in found))
        return found

    return look


@pytest.fixture
def health_faults(findings: Findings) -> Callable[[], list[str]]:
    """The faults that `health` names now."""
    return lambda: [f"{f['subject']}: {f['text']}" for f in findings() if not f["ok"]]
