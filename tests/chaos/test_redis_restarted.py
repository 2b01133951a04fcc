"""Redis loses everything: it only wakes workers up, so no tracked session gets lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import redis

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
def test_a_broker_that_comes_back_empty_is_consumed_from_again_and_no_session_is_lost(
    sandbox: SandboxClient, tmp_path: Path, judge: Judge
):
    with breakable_deployment(sandbox, tmp_path) as (deployment, servers):
        processes = deployment.start_all("worker", "beat")
        ids = hold_in_flight(deployment, sandbox)

        servers.kill("valkey")
        shutil.rmtree(servers.state_dir / "valkey" / "appendonlydir")
        let_go(sandbox)
        eventually(
            lambda: deployment.query(
                "SELECT outcome FROM payment_sessions WHERE outcome IS NOT NULL"
            ),
            because="replies are recorded while there is nobody to tell",
        )
        servers.start_again("valkey")
        back_at = database_now(deployment)
        tracked = paid_sessions(sandbox)
        for session_id in tracked:
            deployment.track(session_id)
        assert set(deployment.wait_for_outcomes(*ids, *tracked).values()) == {"completed"}
        assert [process.process.poll() for process in processes] == [None, None]
        judge(deployment, [*ids, *tracked], since=back_at)


def test_after_flushall_events_come_again_under_their_ids_and_polling_goes_on(
    sandbox: SandboxClient, tmp_path: Path, judge: Judge
):
    with breakable_deployment(sandbox, tmp_path) as (deployment, _):
        deployment.start_all("worker", "beat")
        delivered = paid_sessions(sandbox)
        deployment.insert(*delivered)
        deployment.wait_for_outcomes(*delivered)
        deployment.assert_invariants()
        before = {event["id"]: event for event in deployment.received()}
        in_flight = hold_in_flight(deployment, sandbox)

        with redis.Redis.from_url(deployment.environment["REDIS_URL"]) as client:
            client.flushall()
        flushed_at = database_now(deployment)
        let_go(sandbox)

        assert set(deployment.wait_for_outcomes(*in_flight).values()) == {"completed"}
        eventually(
            lambda: before.keys() <= {event["id"] for event in deployment.received()},
            because="every event is in the stream again",
        )
        again = {event["id"]: event for event in deployment.received()}
        assert {event_id: again[event_id] for event_id in before} == before
        judge(deployment, [*delivered, *in_flight], since=flushed_at)
