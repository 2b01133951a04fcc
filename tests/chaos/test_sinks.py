"""The shop's end fails: its stream's server is away, slow, picky, or forgets. Polling goes on."""

from __future__ import annotations

import pytest
import redis

from tests.support.eventually import eventually
from tests.support.experiment import Experiment
from tests.support.tcp_proxy import TcpProxy, Trap

STREAM = "payment-session-events"
LONGEST_BACKOFF_SECONDS = 300


@pytest.fixture
def experiment(experiment: Experiment, valkey: TcpProxy) -> Experiment:
    """Only the sink goes through the proxy; the broker is reached directly."""
    experiment.overrides["REDIS_URL"] = valkey.url
    experiment.overrides["BROKER_URL"] = experiment.deployment.environment["REDIS_URL"]
    return experiment


def undelivered(experiment: Experiment) -> int:
    rows = experiment.deployment.query(
        "SELECT count(*) AS n FROM outbox_deliveries WHERE delivered_at IS NULL"
    )
    return rows[0]["n"]


@pytest.mark.slow
def test_the_sink_is_down_for_an_hour(experiment: Experiment, valkey: TcpProxy):
    experiment.start("worker", "beat")
    ids = experiment.put_in_flight()

    valkey.refuse()
    experiment.klarna.release()
    eventually(lambda: undelivered(experiment) == len(ids) // 2, because="events wait")
    # Not one poll waits with them.
    experiment.wait_for_polls(*ids, more=3, within=15)
    experiment.live_through(minutes=60, step=300)
    assert undelivered(experiment) == len(ids) // 2

    valkey.restore()
    experiment.let_pass(LONGEST_BACKOFF_SECONDS)
    experiment.fault_over()
    eventually(lambda: undelivered(experiment) == 0, because="what waited is delivered")
    experiment.end()


@pytest.mark.slow
def test_the_sink_is_slow(experiment: Experiment, valkey: TcpProxy):
    experiment.start("worker", "beat")
    ids = experiment.put_in_flight()

    valkey.delay(0.5)
    experiment.klarna.release()
    experiment.wait_for_polls(*ids, more=4, within=15)

    valkey.delay(0)
    experiment.fault_over()
    experiment.end()


def test_the_sink_fails_for_one_session_and_no_other_waits(
    experiment: Experiment, valkey: TcpProxy
):
    experiment.start("worker", "beat")
    ids = experiment.put_in_flight()
    failing, *others = ids[::2]

    valkey.trap(failing, Trap.CUT)
    experiment.klarna.release()
    eventually(
        lambda: {event["subject"] for event in experiment.consumer.read()} == set(others),
        because="every other session's event is delivered",
    )
    eventually(
        lambda: experiment.deployment.query(
            "SELECT * FROM outbox_deliveries WHERE session_id = %s AND attempts > 2", failing
        ),
        because="the failing one is tried again",
    )

    valkey.clear_traps()
    experiment.fault_over()
    experiment.end()


@pytest.mark.slow
def test_redis_is_flushed_after_the_delivery_and_before_the_shop_reads(experiment: Experiment):
    experiment.start("worker", "beat")
    ids = experiment.put_in_flight()
    experiment.klarna.release()
    experiment.deployment.wait_for_outcomes(*ids[::2])
    eventually(lambda: undelivered(experiment) == 0, because="the events are in the stream")

    with redis.Redis.from_url(experiment.deployment.environment["REDIS_URL"]) as client:
        before = {fields[b"id"] for _, fields in client.xrange(STREAM)}
        client.flushdb()

    experiment.fault_over()
    eventually(
        lambda: before <= {event["id"].encode() for event in experiment.consumer.read()},
        because="the shop gets what it had not read",
    )
    experiment.end()


@pytest.mark.slow
def test_the_stream_is_trimmed_behind_the_shop(experiment: Experiment):
    experiment.start("worker", "beat")
    ids = experiment.put_in_flight()
    experiment.klarna.release()
    experiment.deployment.wait_for_outcomes(*ids[::2])
    eventually(lambda: undelivered(experiment) == 0, because="the events are in the stream")
    assert len(experiment.consumer.read()) == len(ids) // 2

    with redis.Redis.from_url(experiment.deployment.environment["REDIS_URL"]) as client:
        assert client.xtrim(STREAM, maxlen=0, approximate=False) == len(ids) // 2

    # An empty stream is not a lost one: nothing is sent again.
    experiment.outage(10)
    assert len(experiment.consumer.read()) == len(ids) // 2

    experiment.fault_over()
    experiment.end()
    assert len(experiment.consumer.read()) == len(ids)
