"""Traces and log lines of real processes: one payment session is one trace."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.collector import collector
from tests.support.deployment import Deployment
from tests.support.eventually import eventually

SHOPS_TRACE, SHOPS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PAID = [[0.5, "IN_PROGRESS"], [2.0, "COMPLETED"]]


def test_from_track_to_delivery_is_one_trace_and_the_shops_own(
    deployment: Deployment, sandbox: SandboxClient
):
    """The schedule between them is in Postgres: the trace is carried there, not by messages."""
    with collector() as collected:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collected.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        deployment.start("worker", **settings)
        deployment.start("beat", **settings)
        created = [sandbox.create_session(steps=PAID, expires_in=600) for _ in range(2)]
        theirs, ours = (each["session_id"] for each in created)

        header = {"traceparent": f"00-{SHOPS_TRACE}-{SHOPS_SPAN}-01"}
        deployment.shop.send_task(
            "payment_sessions.track", args=[theirs], queue="payment-sessions", headers=header
        )
        deployment.shop.send_task(
            "payment_sessions.track",
            args=[ours],
            queue="payment-sessions",
            headers={"traceparent": "00-none-of-the-kind-01"},
        )

        for session_id in (theirs, ours):
            eventually(
                lambda id_=session_id: collected.of(id_, "payment_session.deliver"), within=30
            )
        eventually(
            lambda: [s for s in collected.spans if s.attributes.get("finding") == "finished"][1:],
        )
        for session_id in (theirs, ours):
            (track,) = collected.of(session_id, "payment_session.track")
            polls = collected.of(session_id, "payment_session.poll")
            (deliver,) = collected.of(session_id, "payment_session.deliver")
            assert len(polls) >= 2
            assert {span.trace for span in (*polls, deliver)} == {track.trace}
            assert {span.parent for span in (*polls, deliver)} == {track.id}
            assert track.attributes["effect"] == "created"
            assert all(poll.attributes["correlation_id"] for poll in polls)
            assert deliver.attributes["result"] == "taken"
        (track,) = collected.of(theirs, "payment_session.track")
        assert (track.trace, track.parent) == (SHOPS_TRACE, SHOPS_SPAN)
        (track,) = collected.of(ours, "payment_session.track")
        assert track.parent == ""
        sent = b"".join(collected.bodies)
        assert not [each for each in created if each["authorization_token"].encode() in sent]
    deployment.assert_invariants()


def test_a_collector_that_is_away_stops_nothing(deployment: Deployment, sandbox: SandboxClient):
    """Spans are lost, sessions are not."""
    deployment.start("worker", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    deployment.start("beat")
    created = sandbox.create_session(steps=PAID, expires_in=600)

    deployment.track(created["session_id"])

    assert deployment.wait_for_outcomes(created["session_id"])
    deployment.assert_invariants()


def test_traces_cost_nothing_where_they_are_off(environment: dict[str, str]):
    """No tracing is imported (redis-py itself imports the SDK if it is installed)."""
    imports = "worker.tasks, worker.scheduler, worker.bootstrap.worker"
    program = f"import sys, {imports}; print([*sys.modules])"

    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )

    assert "worker.bootstrap.worker" in ran.stdout
    assert "worker.adapters.telemetry.otel" not in ran.stdout
    assert "opentelemetry.exporter" not in ran.stdout
    assert "prometheus_client" not in ran.stdout


def test_beat_imports_nothing_that_only_a_worker_needs(environment: dict[str, str]):
    """Beat imports no HTTP client and no cipher: that saves memory."""
    program = "import sys, celery.apps.beat, worker.scheduler, worker.tasks; print([*sys.modules])"

    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )

    imported = ast.literal_eval(ran.stdout)
    assert "worker.bootstrap.beat" in imported
    assert {"httpx", "aiohttp", "cryptography.fernet", "worker.bootstrap.sinks"}.isdisjoint(
        imported
    )


def test_each_poll_and_each_change_has_a_log_line_with_klarnas_id_of_the_answer(
    deployment: Deployment, sandbox: SandboxClient
):
    """JSON; a poll at debug level, a change at info level."""
    worker = deployment.start("worker")
    deployment.start("beat")
    created = sandbox.create_session(steps=PAID, expires_in=600)
    deployment.track(created["session_id"])
    deployment.wait_for_outcomes(created["session_id"])

    lines = [json.loads(line) for line in worker.log().splitlines() if line.startswith("{")]

    polled = [line for line in lines if line["event"] == "payment_session_polled"]
    changed = [line for line in lines if line["event"] == "status_changed"]
    assert {line["level"] for line in polled} == {"debug"}
    assert {line["level"] for line in changed} == {"info"}
    assert [line["to"] for line in changed][-1] == "COMPLETED"
    assert len(polled) >= len(changed) >= 2
    for line in (*polled, *changed):
        assert line["session_id"] == created["session_id"]
        assert line["correlation_id"]


@pytest.mark.parametrize("wrong", ["collector:4318", "http://user:secret-1@collector"])
def test_a_wrong_collector_is_named(environment: dict[str, str], wrong: str):
    """And its value is not repeated: it may contain a secret."""
    program = "from config.settings import Settings, load; load(Settings)"

    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"OTEL_EXPORTER_OTLP_ENDPOINT": wrong},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 2
    assert ran.stderr == (
        "Invalid settings:\n  OTEL_EXPORTER_OTLP_ENDPOINT: must look like http://collector:4318, "
        "without user info\n"
    )
