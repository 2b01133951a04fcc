"""The shop's end fails: its stream's server is away, slow, picky, or forgets. Polling goes on."""

from __future__ import annotations

import pytest
import redis

from tests.support.eventually import eventually
from tests.support.tcp_proxy import TcpProxy, Trap
from tests.support.trial import Trial

STREAM = "payment-session-events"
LONGEST_BACKOFF_SECONDS = 300


@pytest.fixture
def trial(trial: Trial, valkey: TcpProxy) -> Trial:
    """Only the sink goes through the proxy; the broker is reached directly."""
    trial.overrides["REDIS_URL"] = valkey.url
    trial.overrides["BROKER_URL"] = trial.deployment.environment["REDIS_URL"]
    return trial


def undelivered(trial: Trial) -> int:
    rows = trial.deployment.query(
        "SELECT count(*) AS n FROM outbox_deliveries WHERE delivered_at IS NULL"
    )
    return rows[0]["n"]


@pytest.mark.slow
def test_the_sink_is_down_for_an_hour(trial: Trial, valkey: TcpProxy):
    trial.start("worker", "beat")
    ids = trial.put_in_flight()

    valkey.refuse()
    trial.klarna.release()
    eventually(lambda: undelivered(trial) == len(ids) // 2, because="events wait")
    # Not one poll waits with them.
    trial.wait_for_polls(*ids, more=3, within=15)
    trial.live_through(minutes=60, step=300)
    assert undelivered(trial) == len(ids) // 2

    valkey.restore()
    trial.let_pass(LONGEST_BACKOFF_SECONDS)
    trial.fault_over()
    eventually(lambda: undelivered(trial) == 0, because="what waited is delivered")
    trial.end()


@pytest.mark.slow
def test_the_sink_is_slow(trial: Trial, valkey: TcpProxy):
    trial.start("worker", "beat")
    ids = trial.put_in_flight()

    valkey.delay(0.5)
    trial.klarna.release()
    trial.wait_for_polls(*ids, more=4, within=15)

    valkey.delay(0)
    trial.fault_over()
    trial.end()


def test_the_sink_fails_for_one_session_and_no_other_waits(trial: Trial, valkey: TcpProxy):
    trial.start("worker", "beat")
    ids = trial.put_in_flight()
    failing, *others = ids[::2]

    valkey.trap(failing, Trap.CUT)
    trial.klarna.release()
    eventually(
        lambda: {event["subject"] for event in trial.consumer.read()} == set(others),
        because="every other session's event is delivered",
    )
    eventually(
        lambda: trial.deployment.query(
            "SELECT * FROM outbox_deliveries WHERE session_id = %s AND attempts > 2", failing
        ),
        because="the failing one is tried again",
    )

    valkey.clear_traps()
    trial.fault_over()
    trial.end()


@pytest.mark.slow
def test_redis_is_flushed_after_the_delivery_and_before_the_shop_reads(trial: Trial):
    trial.start("worker", "beat")
    ids = trial.put_in_flight()
    trial.klarna.release()
    trial.deployment.wait_for_outcomes(*ids[::2])
    eventually(lambda: undelivered(trial) == 0, because="the events are in the stream")

    with redis.Redis.from_url(trial.deployment.environment["REDIS_URL"]) as client:
        before = {fields[b"id"] for _, fields in client.xrange(STREAM)}
        client.flushdb()

    trial.fault_over()
    eventually(
        lambda: before <= {event["id"].encode() for event in trial.consumer.read()},
        because="the shop gets what it had not read",
    )
    trial.end()


@pytest.mark.slow
def test_the_stream_is_trimmed_behind_the_shop(trial: Trial):
    trial.start("worker", "beat")
    ids = trial.put_in_flight()
    trial.klarna.release()
    trial.deployment.wait_for_outcomes(*ids[::2])
    eventually(lambda: undelivered(trial) == 0, because="the events are in the stream")
    assert len(trial.consumer.read()) == len(ids) // 2

    with redis.Redis.from_url(trial.deployment.environment["REDIS_URL"]) as client:
        assert client.xtrim(STREAM, maxlen=0, approximate=False) == len(ids) // 2

    # An empty stream is not a lost one: nothing is sent again.
    trial.outage(10)
    assert len(trial.consumer.read()) == len(ids) // 2

    trial.fault_over()
    trial.end()
    assert len(trial.consumer.read()) == len(ids)
