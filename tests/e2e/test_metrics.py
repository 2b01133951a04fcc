"""Metrics of real processes: their values after a run, bounded labels, no server without a port."""

from __future__ import annotations

import re
import socket
import urllib.request
from pathlib import Path

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.eventually import eventually
from tests.support.flower import free_port
from tests.support.metrics import scrape, value

P = "payment_sessions"


def test_worker_and_beat_serve_what_a_run_moved(deployment: Deployment, sandbox: SandboxClient):
    """Polls, requests, changes, their delay, deliveries and the backlog are counted."""
    ports = {"worker": free_port(), "beat": free_port()}
    deployment.start("worker", METRICS_PORT=str(ports["worker"]))
    deployment.start("beat", METRICS_PORT="1", BEAT_METRICS_PORT=str(ports["beat"]))
    paid = sandbox.create_session(steps=[[0.5, "IN_PROGRESS"], [2.0, "COMPLETED"]], expires_in=600)
    strange = sandbox.create_session(steps=[[0.5, "SOMETHING_NEW"]], expires_in=600)

    deployment.track(paid["session_id"])
    deployment.track(strange["session_id"])

    deployment.wait_for_outcomes(paid["session_id"])
    deployment.received_of(paid["session_id"])
    eventually(
        lambda: value(scrape(ports["worker"]), f"{P}_status_changes_total", status="other"),
        because="the strange status was seen",
    )
    worker = scrape(ports["worker"])
    assert value(worker, f"{P}_tracked_total", effect="created") == 2
    assert value(worker, f"{P}_polls_total", account="default") >= 4
    assert value(worker, f"{P}_polls_total", result="finished") == 1
    asked = value(worker, f"{P}_klarna_request_duration_seconds_count", outcome="ok")
    assert asked >= value(worker, f"{P}_polls_total")
    assert value(worker, f"{P}_poll_lag_seconds_count", account="default") >= 4
    assert value(worker, f"{P}_status_changes_total", status="COMPLETED") == 1
    assert value(worker, f"{P}_detection_delay_seconds_count", status="COMPLETED") == 1
    assert value(worker, f"{P}_finished_total", outcome="completed") == 1
    assert value(worker, f"{P}_deliveries_total", sink="redis_stream", result="delivered") == 1
    assert value(worker, f"{P}_event_loop_lag_seconds_count") > 0
    assert value(worker, f"{P}_build_info") == 1
    eventually(
        lambda: value(scrape(ports["beat"]), f"{P}_unconfirmed_authorizations", minutes_left="60"),
        because="beat has looked at what waits",
    )
    beat = scrape(ports["beat"])
    assert value(beat, f"{P}_beat_ticks_total", result="ok") > 0
    assert value(beat, f"{P}_beat_last_tick_timestamp_seconds") > 0
    assert value(beat, f"{P}_account_budget_reads_per_second", account="default") == 150
    assert value(beat, f"{P}_account_breaker", state="closed") == 1
    assert value(beat, f"{P}_oldest_due_age_seconds", account="default") < 60
    for role in ports:
        assert value(beat, f"{P}_processes", role=role) == 1
        assert value(beat, f"{P}_heartbeat_age_seconds", role=role) < 45
    assert value(beat, f"{P}_queue_unchanged_seconds", queue="tracks") < 45
    for text in (_text(ports["worker"]), _text(ports["beat"])):
        assert paid["session_id"] not in text
        assert paid["authorization_token"] not in text


def test_no_port_is_opened_unasked(deployment: Deployment):
    """Without METRICS_PORT nothing listens."""
    worker = deployment.start("worker")

    assert not _listening(worker.process.pid)


def test_a_port_in_use_ends_the_process_with_one_line(deployment: Deployment):
    """Several processes on one host need a port each."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = deployment.start("worker", wait=False, METRICS_PORT=str(port))

        assert worker.wait_for_end() == 2
    said = worker.log()
    assert "Traceback" not in said
    assert (
        f"Invalid settings:\n  METRICS_PORT: cannot serve metrics at 127.0.0.1:{port} "
        "(Address already in use): "
        "each process on a host needs its own, beat's may be BEAT_METRICS_PORT\n"
    ) in said


def _text(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def _listening(pid: int) -> list[str]:
    """Return the local addresses at which the process listens, from /proc."""
    inodes = {
        match[1]
        for file in Path(f"/proc/{pid}/fd").iterdir()
        if (match := re.match(r"socket:\[(\d+)\]", str(file.readlink())))
    }
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]
