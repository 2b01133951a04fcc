"""What the services tell the meter of, that an ordinary run does not show."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from prometheus_client import generate_latest

from tests.support.flower import free_port
from tests.support.metrics import Samples, scrape, value
from tests.support.stored import Stored
from tests.support.wired import OpenServices, eventually_beside
from worker.adapters.telemetry.prometheus_meter import BeatMeter, WorkerMeter
from worker.services.meter import Backlog, DeploymentFigures, ProcessFigures, Waiting

pytestmark = pytest.mark.anyio

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
P = "payment_sessions"
GAUGES = (f"{P}_undelivered_", f"{P}_lapsed_", f"{P}_due", f"{P}_oldest_due", f"{P}_outbox_")


async def test_tokens_and_ends_that_somebody_should_look_at(services: OpenServices, stored: Stored):
    """A token that does not decrypt, one that ran out undelivered, a session given up unread."""
    lost = Fernet(Fernet.generate_key()).encrypt(b"lost")
    done = {"outcome": "completed", "finished_at": LONG_AGO, "next_poll_at": None}
    stored.add_session("paid", **done, authorization_token=lost)
    stored.add_message("paid", 1, event_type="payment_session.authorized")
    stored.add_account(paused_for=600, refusals=5)
    stored.add_session("over", tracked_at=LONG_AGO, expires_at=LONG_AGO)
    port = free_port()

    async with services(METRICS_PORT=str(port)) as opened:
        await opened.relay.relay(["paid"])
        await opened.housekeeping.purge()
        seen = scrape(port)

    assert value(seen, f"{P}_token_decrypt_failures_total") == 1
    assert _deliveries(seen) == {"failed": 1, "dead_lettered": 0, "delivered": 0}
    assert value(seen, f"{P}_tokens_erased_total", delivered="no") == 1
    assert value(seen, f"{P}_tokens_erased_total", delivered="yes") == 0
    assert value(seen, f"{P}_anomalies_total", kind="session_abandoned") == 1
    assert value(seen, f"{P}_finished_total", outcome="expired") == 1


async def test_leases_that_another_has_are_counted(services: OpenServices, stored: Stored):
    stored.add_session("s1")
    port = free_port()

    async with services(METRICS_PORT=str(port)) as opened:
        await opened.poll.poll(["s1", "nobody"], uuid4())
        seen = scrape(port)

    assert value(seen, f"{P}_leases_lost_total", stage="load") == 2
    assert value(seen, f"{P}_polls_total") == 0


async def test_a_tick_that_fails_is_no_sign_of_life(services: OpenServices, stored: Stored):
    stored.rows("ALTER TABLE accounts RENAME TO elsewhere")
    port = free_port()

    async with services(BEAT_METRICS_PORT=str(port)) as opened:
        await opened.dispatch.tick()
        seen = scrape(port)

    assert value(seen, f"{P}_beat_ticks_total", result="failed") == 1
    assert value(seen, f"{P}_beat_last_tick_timestamp_seconds") == 0


def test_what_is_not_configured_is_one_label():
    """An account or sink that the settings lost makes no series of its own."""
    meter = WorkerMeter(accounts=["default"], sinks=["redis_stream"])

    meter.polled("lost", "unchanged")
    meter.not_delivered("lost", dead=False)

    read = meter.registry.get_sample_value
    assert read(f"{P}_polls_total", {"account": "other", "result": "unchanged"}) == 1
    assert read(f"{P}_polls_total", {"account": "lost", "result": "unchanged"}) is None
    assert read(f"{P}_deliveries_total", {"sink": "other", "result": "failed"}) == 1


async def test_beat_tells_of_what_the_settings_lost_as_of_one(
    services: OpenServices, stored: Stored
):
    """Accounts and sinks by any name are `other`: the oldest of all, and how many together."""
    for number in range(3):
        stored.add_session(f"s{number}", account=f"lost-{number}", due_in=-100 * number - 90)
    stored.add_message("s0", 1, sinks=("webhook_lost", "redis_stream"))
    port = free_port()

    async with services(BEAT_METRICS_PORT=str(port)) as opened:
        await opened.dispatch.tick()
        seen = await eventually_beside(lambda: _looked(port))

    assert value(seen, f"{P}_due", account="other") == 3
    assert 290 <= value(seen, f"{P}_oldest_due_age_seconds", account="other") < 320
    assert value(seen, f"{P}_outbox_waiting", sink="other") == 1
    assert {labels for name, labels in seen if name == f"{P}_due"} == {
        frozenset({("account", "default")}),
        frozenset({("account", "other")}),
    }


async def test_before_beat_has_looked_nothing_is_known_and_later_it_is_forgotten():
    """Not zero: nobody has counted. No figure outlives the database that it came from."""
    meter = BeatMeter(accounts=["default"], sinks=["webhook"])

    def exported() -> set[float]:
        samples = generate_latest(meter.registry).decode().splitlines()
        return {float(line.rpartition(" ")[2]) for line in samples if line.startswith(GAUGES)}

    assert all(math.isnan(number) for number in exported())
    meter.backlog(Backlog(undelivered=2, lapsed=2, due={"default": Waiting(count=2)}))
    assert 2 in exported()
    meter.backlog_unknown()
    assert all(math.isnan(number) for number in exported())


async def test_processes_are_forgotten_where_they_cannot_be_read():
    """One that was never seen was seen infinitely long ago, so that an alert fires."""
    meter = BeatMeter(accounts=["default"], sinks=["webhook"])
    roles = {"worker": ProcessFigures(), "beat": ProcessFigures(running=2, seen_seconds=3.0)}

    def exported() -> list[float | None]:
        names = ("processes", "heartbeat_age_seconds")
        read = meter.registry.get_sample_value
        return [
            *(read(f"{P}_{name}", {"role": role}) for role in roles for name in names),
            read(f"{P}_queue_unchanged_seconds", {"queue": "polls"}),
        ]

    figures = DeploymentFigures(processes=roles, unchanged_seconds={"polls": 50.0})
    meter.backlog(Backlog(deployment=figures))
    assert exported() == [0, math.inf, 2, 3.0, 50.0]
    meter.backlog(Backlog())
    assert all(number is not None and math.isnan(number) for number in exported())


async def test_queues_are_not_reported_of_while_the_broker_is_away():
    """An alert must not go by what a beat that is cut off saw last."""
    meter = BeatMeter(accounts=["default"], sinks=["webhook"])
    meter.queues({"tracks": 7})
    meter.ticked(ok=False)

    assert f'{P}_queue_waiting{{queue="tracks"}} NaN' in generate_latest(meter.registry).decode()


def _looked(port: int) -> Samples | None:
    seen = scrape(port)
    return seen if value(seen, f"{P}_backlog_timestamp_seconds") else None


def _deliveries(seen: Samples) -> dict[str, float]:
    return {
        result: value(seen, f"{P}_deliveries_total", result=result)
        for result in ("failed", "dead_lettered", "delivered")
    }
