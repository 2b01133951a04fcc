"""Metrics, rules, dashboard and their pages agree; promtool tests every alert."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Histogram, generate_latest

from tests.support.prometheus import DASHBOARD, ROOT, RULES, metrics_named, program, queries
from worker.adapters.telemetry.metrics import BeatMetrics, WorkerMetrics
from worker.adapters.telemetry.prometheus_meter import BeatMeter, WorkerMeter
from worker.contract.log_events import LOG_EVENTS
from worker.contract.metrics import exported_metrics, exported_name

PROMETHEUS = ROOT / "config" / "prometheus"
TESTS = PROMETHEUS / "rules.test.yml"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
# README and docs: where people copy the names of metrics from.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ALERTS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
IDS = [rule["alert"] for rule in ALERTS]


def exposed() -> set[str]:
    """Every name that a query may use."""
    names = set()
    for metric in exported_metrics():
        suffixes = ("_bucket", "_count", "_sum") if isinstance(metric, Histogram) else ("",)
        names |= {exported_name(metric) + suffix for suffix in suffixes}
    return names


def heading(anchor: str) -> str | None:
    """The heading that an anchor of operations.md leads to."""
    for title in re.findall(r"^#+ (.+)$", OPERATIONS, re.MULTILINE):
        if re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") == anchor:
            return title
    return None


# --- metrics


def test_names_follow_the_conventions_of_prometheus():
    """Base units, and a prefix of our own."""
    for metric in exported_metrics():
        name = exported_name(metric)
        assert name.startswith("payment_sessions_")
        assert not re.search(r"_(ms|milliseconds|minutes|hours|percent)(_|$)", name), name
        assert isinstance(metric, Counter) == name.endswith("_total"), name
        if isinstance(metric, Histogram):
            assert name.endswith("_seconds"), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_metric_that_a_page_names_exists(page: Path):
    """The table in docs/operations.md is written from the code; prose names metrics elsewhere."""
    named = {name for name in metrics_named(page.read_text()) if not name.endswith("_")}
    log_events = {event.name for event in LOG_EVENTS}

    assert named - log_events <= exposed() | {exported_name(each) for each in exported_metrics()}


def test_promtool_finds_nothing_wrong_with_what_is_exposed():
    """Names, units, help: after Prometheus' own conventions."""
    for meter in (WorkerMeter, BeatMeter):
        made = meter(accounts=["default"], sinks=["webhook"])
        checked = subprocess.run(
            [program("promtool"), "check", "metrics", "--extended"],
            input=generate_latest(made.registry).decode(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_worker_and_a_beat_share_no_metric_but_that_of_the_process():
    """So what is absent tells which of them is; neither counts zero of what it cannot know."""
    names = {
        metric: {each.name for each in metric().registry.collect()}
        for metric in (WorkerMetrics, BeatMetrics)
    }

    shared = names[WorkerMetrics] & names[BeatMetrics]
    assert {name for name in shared if not name.startswith("process_")} == {
        "payment_sessions_build",
        "payment_sessions_event_loop_lag_seconds",
    }


# --- alerts


def test_promtool_takes_the_configuration_and_its_rules():
    checked = subprocess.run(
        [program("promtool"), "check", "config", PROMETHEUS / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_fires_when_it_should_and_only_then():
    ran = subprocess.run(
        [program("promtool"), "test", "rules", TESTS], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("alert", IDS)
def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_not(alert: str):
    cases = [
        case
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]

    assert any(case["exp_alerts"] for case in cases)
    assert any(not case["exp_alerts"] for case in cases)


@pytest.mark.parametrize("rule", ALERTS, ids=IDS)
def test_every_alert_leads_to_its_page(rule: dict[str, Any]):
    page, _, anchor = rule["annotations"]["runbook"].partition("#")

    assert page == "docs/operations.md"
    assert heading(anchor) == rule["alert"]
    section = OPERATIONS.partition(f"### {rule['alert']}\n")[2].partition("\n#")[0]
    assert "session-worker" in section, "it names a command"


@pytest.mark.parametrize("rule", ALERTS, ids=IDS)
def test_every_metric_of_a_rule_exists(rule: dict[str, Any]):
    named = metrics_named(rule["expr"])

    assert named
    assert named <= exposed()


# --- dashboard


def test_every_metric_of_the_dashboard_exists():
    named = {name for _, query in queries() for name in metrics_named(query)}

    assert len(named) > 20
    assert named <= exposed()


def test_the_dashboard_can_be_provisioned():
    """It names no data source of somebody's own, and no panel or place twice."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]

    assert {target["datasource"]["uid"] for p in panels for target in p.get("targets", [])} == {
        "${datasource}"
    }
    for keys in (
        [p["id"] for p in panels],
        [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels],
    ):
        assert len(set(keys)) == len(keys)
    assert all(p["description"] for p in panels if p["type"] != "row")
