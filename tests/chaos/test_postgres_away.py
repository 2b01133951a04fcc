"""Postgres away for a while, and its connections ended one by one."""

from __future__ import annotations

import pytest

from tests.support.tcp_proxy import TcpProxy
from tests.support.trial import Trial, terminate_backends


@pytest.mark.slow
def test_connections_to_postgres_are_terminated_one_by_one(trial: Trial):
    url = trial.deployment.environment["DATABASE_URL"]
    trial.start("worker", "beat")
    trial.put_in_flight()

    ended = 0
    while trial.klarna.release(count=2):
        ended += terminate_backends(url, limit=1)
    assert ended > 10

    trial.fault_over()
    trial.end()


@pytest.mark.slow
def test_postgres_is_away_for_30_seconds_while_the_shop_tracks(trial: Trial, postgres: TcpProxy):
    trial.overrides["DATABASE_URL"] = postgres.url
    trial.start("worker", "beat")
    trial.put_in_flight()

    postgres.refuse()
    trial.klarna.release()
    for session_id in trial.create():
        trial.deployment.track(session_id)
    trial.outage(30)

    postgres.restore()
    trial.fault_over()
    trial.end()
