"""Postgres goes away in mid-poll: beat and worker wait for it, and nothing is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.breakable import breakable_deployment
from tests.support.eventually import eventually
from tests.support.experiment import Judge
from tests.support.in_flight import (
    database_now,
    hold_in_flight,
    let_go,
    paid_sessions,
)


@pytest.mark.slow
def test_a_restart_of_the_database_ends_neither_beat_nor_worker(
    sandbox: SandboxClient, tmp_path: Path, judge: Judge
):
    with breakable_deployment(sandbox, tmp_path) as (deployment, servers):
        processes = deployment.start_all("worker", "beat")
        ids = hold_in_flight(deployment, sandbox)

        servers.restart("postgres")
        restarted_at = database_now(deployment)
        let_go(sandbox)

        assert set(deployment.wait_for_outcomes(*ids).values()) == {"completed"}
        assert [process.process.poll() for process in processes] == [None, None]
        judge(deployment, ids, since=restarted_at)


def test_what_happens_while_the_database_is_away_is_made_up_for_when_it_is_back(
    sandbox: SandboxClient, tmp_path: Path, judge: Judge
):
    with breakable_deployment(sandbox, tmp_path) as (deployment, servers):
        worker, beat = deployment.start_all("worker", "beat")
        polled = hold_in_flight(deployment, sandbox)

        servers.kill("postgres")
        let_go(sandbox)
        tracked = paid_sessions(sandbox)
        for session_id in tracked:
            deployment.track(session_id)
        eventually(
            lambda: "poll_record_retrying" in worker.log() and "track_retrying" in worker.log(),
            because="the worker meets the outage with polls and with track messages",
        )
        eventually(lambda: "tick_failed" in beat.log(), because="beat meets it, too")
        servers.start_again("postgres")
        back_at = database_now(deployment)

        outcomes = deployment.wait_for_outcomes(*polled, *tracked)
        assert set(outcomes.values()) == {"completed"}
        assert worker.process.poll() is beat.process.poll() is None
        judge(deployment, [*polled, *tracked], since=back_at)
