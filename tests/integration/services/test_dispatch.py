"""Ticks of beat over the real database and broker: what is sent, and how long it sleeps then."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from uuid import uuid4

import pytest
import structlog
from kombu import Connection

from devkit.sandbox.server import SandboxServer
from tests.support.queues import EVENTS, POLLS, polled_ids, polls, relays
from tests.support.stored import Stored
from tests.support.wired import OpenServices
from worker.services.dispatch import LONGEST_SLEEP, SHORTEST_SLEEP
from worker.services.poll_dispatch import FEW, SLEEP_AFTER_FEW

pytestmark = pytest.mark.anyio


def fill(redis_url: str, queue: str, messages: int) -> None:
    """As if nobody worked the queue off."""
    with Connection(redis_url) as connection:
        waiting = connection.SimpleQueue(queue)
        for _ in range(messages):
            waiting.put([[["x"]], {}, {}])


@pytest.mark.parametrize(
    ("due", "sleep"), [(FEW - 1, SLEEP_AFTER_FEW), (FEW, SHORTEST_SLEEP)], ids=["few", "many"]
)
async def test_what_is_due_is_sent_and_looked_after_again_soon(
    services: OpenServices, stored: Stored, redis_url: str, due: int, sleep: float
):
    names = {f"s{number}" for number in range(due)}
    for name in names:
        stored.add_session(name)

    async with services(KLARNA_READ_LIMIT="10000") as opened:
        assert await opened.dispatch.tick() == sleep

    sent = {name: lease_id for ids, lease_id in polls(redis_url) for name in ids}
    assert sent == {name: stored.session(name)["lease_id"] for name in names}


@pytest.mark.parametrize(
    ("due_in", "shortest", "longest"),
    [(None, LONGEST_SLEEP, LONGEST_SLEEP), (60, LONGEST_SLEEP, LONGEST_SLEEP), (0.8, 0.05, 0.8)],
    ids=["nothing to follow", "due later", "due soon"],
)
async def test_beat_sleeps_until_the_next_is_due_within_its_bounds(
    services: OpenServices, stored: Stored, due_in: float | None, shortest: float, longest: float
):
    async with services() as opened:
        await opened.dispatch.tick()
        if due_in is not None:
            stored.add_session("s1", due_in=due_in)

        assert shortest <= await opened.dispatch.tick() <= longest


async def test_what_cannot_be_claimed_yet_makes_nobody_spin(
    services: OpenServices, stored: Stored, redis_url: str
):
    stored.add_account(paused_for=60, refusals=1)
    stored.add_session("s1", due_in=-5)

    async with services() as opened:
        assert await opened.dispatch.tick() == LONGEST_SLEEP

    assert polls(redis_url) == []


async def test_what_waits_for_the_budget_makes_nobody_spin(
    services: OpenServices, stored: Stored, redis_url: str
):
    """At a read every five seconds the rest is due all the while: it is not looked at for that."""
    for session_id in ("s1", "s2"):
        stored.add_session(session_id)

    async with services(KLARNA_READ_LIMIT="0.2", KLARNA_QUOTA_SHARE="1") as opened:
        await opened.dispatch.tick()
        assert await opened.dispatch.tick() == LONGEST_SLEEP

    assert len(polled_ids(redis_url)) == 1


async def test_a_probe_under_way_makes_nobody_spin(services: OpenServices, stored: Stored):
    stored.add_account(refusals=1)
    stored.add_session("s1", lease_id=uuid4(), lease_expires_at="infinity")
    stored.add_session("s2")

    async with services() as opened:
        assert await opened.dispatch.tick() == LONGEST_SLEEP

    assert stored.session("s2")["lease_id"] is None


async def test_an_account_without_room_keeps_no_other_waiting(
    services: OpenServices, stored: Stored, redis_url: str, sandbox_server: SandboxServer
):
    """Beat looks again when the other's session is due."""
    fields = {"USERNAME": "us", "PASSWORD": "us", "BASE_URL": sandbox_server.url}
    other = {f"KLARNA_ACCOUNTS__US__{name}": value for name, value in fields.items()}
    stored.add_session("s1")
    stored.add_session("s2")
    stored.add_session("s3", account="us", due_in=0.9)

    async with services(KLARNA_READ_LIMIT="0.2", KLARNA_QUOTA_SHARE="1", **other) as opened:
        await opened.dispatch.tick()
        assert SHORTEST_SLEEP <= await opened.dispatch.tick() < LONGEST_SLEEP

    assert len(polled_ids(redis_url)) == 1


async def test_a_queue_that_is_not_worked_off_gets_nothing_more(
    services: OpenServices, stored: Stored, redis_url: str
):
    stored.add_session("s1")
    stored.add_message("s1", 1)
    fill(redis_url, POLLS, 4)
    fill(redis_url, EVENTS, 4)

    async with services(POLL_TASKS_PER_TICK="1") as opened:
        assert await opened.dispatch.tick() == LONGEST_SLEEP

    assert stored.session("s1")["lease_id"] is None
    assert len(relays(redis_url)) == 4


async def test_a_tick_sends_only_so_many_tasks_whatever_is_due(
    services: OpenServices, stored: Stored, redis_url: str
):
    for number in range(120):
        stored.add_session(f"s{number}")

    async with services(POLL_TASKS_PER_TICK="2", KLARNA_READ_LIMIT="10000") as opened:
        await opened.dispatch.tick()

    assert [len(session_ids) for session_ids, _ in polls(redis_url)] == [50, 50]


@pytest.mark.parametrize(
    ("tasks", "first", "second"),
    [
        (1, {"default": 1}, {"other": 1}),
        (3, {"default": 2, "other": 1}, {"default": 1, "other": 2}),
    ],
    ids=["one at a time", "shared"],
)
async def test_accounts_share_a_tick_and_take_turns_at_being_first(
    services: OpenServices,
    stored: Stored,
    redis_url: str,
    sandbox_url: str,
    tasks: int,
    first: dict[str, int],
    second: dict[str, int],
):
    other = {
        "KLARNA_ACCOUNTS__OTHER__USERNAME": "u",
        "KLARNA_ACCOUNTS__OTHER__PASSWORD": "p",
        "KLARNA_ACCOUNTS__OTHER__BASE_URL": sandbox_url,
    }
    for number in range(200):
        stored.add_session(f"default-{number}")
        stored.add_session(f"other-{number}", account="other")

    def sent() -> dict[str, int]:
        return Counter(ids[0].partition("-")[0] for ids, _ in polls(redis_url))

    async with services(POLL_TASKS_PER_TICK=str(tasks), **other) as opened:
        await opened.dispatch.tick()
        assert sent() == first
        await opened.dispatch.tick()
        assert sent() == second


# --- the sweep


async def test_messages_that_nobody_delivers_wake_the_relay(
    services: OpenServices, stored: Stored, redis_url: str
):
    for number in range(60):
        stored.add_message(stored.add_session(f"s{number}", due_in=600), 1)
    stored.add_message(stored.add_session("later", due_in=600), 1, due_in=600)

    async with services() as opened:
        await opened.dispatch.tick()
        await opened.dispatch.tick()

    sent = relays(redis_url)
    assert sorted(len(session_ids) for session_ids in sent) == [10, 50]
    assert sorted(chain.from_iterable(sent)) == sorted(f"s{number}" for number in range(60))


# --- failing


async def test_the_end_of_beat_claims_nothing_more(
    services: OpenServices, stored: Stored, redis_url: str
):
    stored.add_session("s1")

    async with services() as opened:
        await opened.dispatch.close()
        assert await opened.dispatch.tick() == LONGEST_SLEEP

    assert polled_ids(redis_url) == []
    assert stored.session("s1")["lease_id"] is None


async def test_a_fault_of_the_intake_sweep_costs_no_tick(services: OpenServices, stored: Stored):
    """An early confirmation that Postgres refuses to apply, and a broken table of queues."""
    stored.add_session("s1")
    stored.rows("INSERT INTO early_confirmations VALUES ('s1', 'order-1')")
    stored.rows(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'P0001'; END $$;"
        "CREATE TRIGGER refuse BEFORE DELETE ON early_confirmations"
        " FOR EACH ROW EXECUTE FUNCTION refuse();"
        "CREATE TRIGGER refuse BEFORE INSERT ON queues FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    async with services() as opened:
        with structlog.testing.capture_logs() as lines:
            await opened.dispatch.tick()

    events = {line["event"] for line in lines}
    assert {"intake_sweep_crashed", "queue_watch_crashed"} <= events
    assert not {"tick_failed", "tick_crashed"} & events
