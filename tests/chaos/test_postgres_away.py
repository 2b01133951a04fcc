"""Postgres away for a while, and its connections ended one by one."""

from __future__ import annotations

import pytest

from tests.support.experiment import Experiment, terminate_backends
from tests.support.tcp_proxy import TcpProxy


@pytest.mark.slow
def test_connections_to_postgres_are_terminated_one_by_one(experiment: Experiment):
    url = experiment.deployment.environment["DATABASE_URL"]
    experiment.start("worker", "beat")
    experiment.put_in_flight()

    ended = 0
    while experiment.klarna.release(count=2):
        ended += terminate_backends(url, limit=1)
    assert ended > 10

    experiment.fault_over()
    experiment.end()


@pytest.mark.slow
def test_postgres_is_away_for_30_seconds_while_the_shop_tracks(
    experiment: Experiment, postgres: TcpProxy
):
    experiment.overrides["DATABASE_URL"] = postgres.url
    experiment.start("worker", "beat")
    experiment.put_in_flight()

    postgres.refuse()
    experiment.klarna.release()
    for session_id in experiment.create():
        experiment.deployment.track(session_id)
    experiment.outage(30)

    postgres.restore()
    experiment.fault_over()
    experiment.end()
