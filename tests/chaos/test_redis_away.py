"""Redis away: connections refused, connections half-open. Polling must go on by itself after."""

from __future__ import annotations

import pytest
import redis

from tests.support.eventually import eventually
from tests.support.experiment import Experiment
from tests.support.tcp_proxy import TcpProxy

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The default lease: Celery alone waits up to half a minute before it connects again."""
    return environment | {"POLL_LEASE_SECONDS": "30"}


@pytest.fixture
def experiment(experiment: Experiment, valkey: TcpProxy) -> Experiment:
    experiment.overrides["REDIS_URL"] = valkey.url
    return experiment


def test_redis_refuses_connections_for_30_seconds_while_the_shop_tracks(
    experiment: Experiment, valkey: TcpProxy
):
    experiment.start("worker", "beat")
    experiment.put_in_flight()

    valkey.refuse()
    experiment.klarna.release()
    # The shop's own way to Redis is open.
    for session_id in experiment.create():
        experiment.deployment.track(session_id)
    experiment.outage(30)

    valkey.restore()
    experiment.fault_over()
    experiment.end()


def test_every_connection_to_redis_goes_silent_and_nothing_is_closed(
    experiment: Experiment, valkey: TcpProxy
):
    worker, _ = experiment.start("worker", "beat")
    experiment.put_in_flight()

    valkey.drop()
    experiment.klarna.release()
    experiment.outage(15)

    valkey.restore()
    experiment.fault_over()
    experiment.end()
    assert worker.stop() == 0


def test_redis_stalls_and_goes_on_where_it_stood(experiment: Experiment, valkey: TcpProxy):
    experiment.start("worker", "beat")
    experiment.put_in_flight()

    valkey.drop()
    experiment.klarna.release()
    experiment.outage(15)

    valkey.thaw()
    experiment.fault_over()
    experiment.end()


def test_a_silent_connection_swallows_one_message_at_most_and_tracking_again_heals_it(
    experiment: Experiment, valkey: TcpProxy
):
    """Redis hands a message to a connection that waits for one, whether or not anybody is there.

    Celery's transport takes no receipt for it; `docs/reliability.md` says what a shop can do.
    """
    experiment.start("worker", "beat")
    experiment.put_in_flight()

    valkey.drop()
    experiment.klarna.release()
    tracked = experiment.create()
    for session_id in tracked:
        experiment.deployment.track(session_id)
    valkey.restore()
    experiment.fault_over()
    with redis.Redis.from_url(experiment.deployment.environment["REDIS_URL"]) as broker:
        eventually(
            lambda: not broker.exists("payment-sessions", "payment-sessions:unacked"),
            within=90,
            because="every message that is left is taken",
        )
    swallowed = [
        session_id for session_id in tracked if experiment.deployment.session(session_id) is None
    ]
    assert len(swallowed) <= 1, "one worker waits on one connection"

    for session_id in swallowed:
        experiment.deployment.track(session_id)
    experiment.end(target_seconds=90)
