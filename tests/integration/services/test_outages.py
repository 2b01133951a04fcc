"""The database or the broker goes away under the services: they wait, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest
import redis

from devkit.embedded import EmbeddedServers
from devkit.sandbox.server import SandboxClient
from tests.support.databases import migrate
from tests.support.queues import polled_ids, polls, relays
from tests.support.stored import Stored
from tests.support.wired import OpenServices, eventually_beside, opened_services
from worker.domain.track_arguments import TrackArguments
from worker.services.errors import UnavailableError

pytestmark = pytest.mark.anyio

BACKING_OFF = [0.5, 1.0, 2.0, 2.0]


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedServers]:
    with EmbeddedServers() as started:
        migrate(started.database_url)
        yield started


@pytest.fixture
def private(running: EmbeddedServers) -> Iterator[EmbeddedServers]:
    """Servers that this file may kill: both are up and empty when a test begins."""
    running.start_again("postgres")
    running.start_again("valkey")
    with redis.Redis.from_url(running.redis_url) as client:
        client.flushall()
    connection = Stored(running.database_url)
    connection.rows("TRUNCATE payment_sessions, accounts, outbox_deliveries CASCADE")
    connection.rows("TRUNCATE stream_generations")
    connection.close()
    return running


@pytest.fixture
def kept(private: EmbeddedServers) -> Iterator[Stored]:
    connection = Stored(private.database_url)
    yield connection
    connection.close()


@pytest.fixture
def services(
    private: EmbeddedServers, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> OpenServices:
    urls = {"DATABASE_URL": private.database_url, "REDIS_URL": private.redis_url}
    return lambda **changes: opened_services(environment | urls | changes, monkeypatch)


@pytest.fixture
def valkey(private: EmbeddedServers) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(private.redis_url) as client:
        yield client


# --- the database


async def test_a_message_that_finds_no_database_is_tracked_when_it_is_back(
    services: OpenServices, private: EmbeddedServers
):
    async with services() as opened, anyio.create_task_group() as group:
        private.kill("postgres")
        group.start_soon(opened.track.track, TrackArguments(session_id="s1"))
        # The first try fails while beat's tick does, in the same loop.
        await opened.dispatch.tick()
        private.start_again("postgres")

    assert polled_ids(private.redis_url) == ["s1"]
    back = Stored(private.database_url)
    assert back.session("s1")["outcome"] is None
    back.close()


async def test_a_worker_that_stops_waits_for_no_database(
    services: OpenServices, private: EmbeddedServers
):
    async with services() as opened:
        opened.track.stop()
        private.kill("postgres")

        with pytest.raises(UnavailableError, match=r"^postgres: "):
            await opened.track.track(TrackArguments(session_id="s1"))


async def test_a_poll_that_finds_no_database_sends_nothing_and_says_so(
    services: OpenServices, private: EmbeddedServers, sandbox: SandboxClient
):
    async with services() as opened:
        await opened.track.track(TrackArguments(session_id="s1"))
        ((session_ids, lease_id),) = polls(private.redis_url)
        private.kill("postgres")

        with pytest.raises(UnavailableError):
            await opened.poll.poll(session_ids, lease_id)

    assert sandbox.requests() == []


async def test_an_answer_that_finds_the_database_restarting_waits_for_it(
    services: OpenServices, private: EmbeddedServers, sandbox: SandboxClient
):
    """Killed, it may forget the lease that was taken last: then the answer is dropped."""
    created = sandbox.create_session(steps=[[0, "COMPLETED"]], faults=[{"kind": "hold"}])
    session_id = created["session_id"]
    async with services() as opened:
        await opened.track.track(TrackArguments(session_id=session_id))
        ((session_ids, lease_id),) = polls(private.redis_url)
        async with anyio.create_task_group() as group:
            group.start_soon(opened.poll.poll, session_ids, lease_id)
            await anyio.to_thread.run_sync(sandbox.wait_for_held)
            private.restart("postgres")
            sandbox.release()

    back = Stored(private.database_url)
    assert back.session(session_id)["outcome"] == "completed"
    assert len(sandbox.requests(session_id=session_id)) == 1
    back.close()


async def test_an_answer_that_finds_no_database_within_its_lease_is_read_again(
    services: OpenServices, private: EmbeddedServers, sandbox: SandboxClient
):
    created = sandbox.create_session(steps=[[0, "COMPLETED"]], faults=[{"kind": "hold"}])
    session_id = created["session_id"]
    async with services(HTTP_TIMEOUT_SECONDS="1", POLL_LEASE_SECONDS="6") as opened:
        await opened.track.track(TrackArguments(session_id=session_id))
        ((session_ids, lease_id),) = polls(private.redis_url)
        async with anyio.create_task_group() as group:
            group.start_soon(opened.poll.poll, session_ids, lease_id)
            await anyio.to_thread.run_sync(sandbox.wait_for_held)
            private.kill("postgres")
            sandbox.release()

        private.start_again("postgres")
        sandbox.clear_faults()
        back = Stored(private.database_url)
        assert back.session(session_id)["outcome"] is None
        back.run_out()
        await opened.dispatch.tick()
        for session_ids, lease_id in polls(private.redis_url):
            await opened.poll.poll(session_ids, lease_id)

    assert back.session(session_id)["outcome"] == "completed"
    back.close()


async def test_ticks_back_off_while_the_database_is_away_and_then_go_on(
    services: OpenServices, private: EmbeddedServers
):
    async with services() as opened:
        private.kill("postgres")
        assert [await opened.dispatch.tick() for _ in BACKING_OFF] == BACKING_OFF

        private.start_again("postgres")
        back = Stored(private.database_url)
        back.add_session("s1")
        back.close()
        await opened.dispatch.tick()

    assert polled_ids(private.redis_url) == ["s1"]


async def test_a_delivery_that_cannot_be_marked_is_made_again_under_its_id(
    services: OpenServices, private: EmbeddedServers, kept: Stored, valkey: redis.Redis
):
    event_id = kept.add_message(kept.add_session("s1"), 1)
    async with services() as opened:
        async with anyio.create_task_group() as group:
            valkey.client_pause(10_000, all=False)
            group.start_soon(opened.relay.relay, ["s1"])
            await eventually_beside(lambda: kept.delivery(event_id)["attempts"] == 1)
            private.kill("postgres")
            valkey.client_unpause()

        private.start_again("postgres")
        back = Stored(private.database_url)
        back.make_deliveries_due()
        await opened.relay.relay(["s1"])

    assert back.delivery(event_id)["delivered_at"] is not None
    back.close()
    entries = valkey.xrange("payment-session-events")
    assert [entry[b"id"] for _, entry in entries] == [str(event_id).encode()] * 2


# --- the broker


async def test_ticks_back_off_while_the_broker_is_away_and_then_go_on(
    services: OpenServices, private: EmbeddedServers, kept: Stored
):
    async with services() as opened:
        await opened.dispatch.tick()
        private.kill("valkey")
        kept.add_session("s1")
        assert await opened.dispatch.tick() == BACKING_OFF[0]
        assert await opened.dispatch.tick() == BACKING_OFF[1]
        assert kept.session("s1")["lease_id"] is None

        private.start_again("valkey")
        await opened.dispatch.tick()

    assert polled_ids(private.redis_url) == ["s1"]


async def test_a_batch_that_cannot_be_sent_gives_its_leases_back_at_once(
    services: OpenServices, private: EmbeddedServers, kept: Stored, valkey: redis.Redis
):
    async with services() as opened:
        await opened.dispatch.tick()
        for number in range(3):
            kept.add_session(f"s{number}")
        # Out of memory: what is there can be read, and nothing be added.
        valkey.config_set("maxmemory", 1)
        try:
            assert await opened.dispatch.tick() == BACKING_OFF[0]
        finally:
            valkey.config_set("maxmemory", 0)

        assert kept.rows("SELECT * FROM payment_sessions WHERE lease_id IS NOT NULL") == []
        await opened.dispatch.tick()

    assert polled_ids(private.redis_url) == ["s0", "s1", "s2"]


async def test_leases_that_cannot_even_be_given_back_run_out_by_themselves(
    services: OpenServices, private: EmbeddedServers, kept: Stored, valkey: redis.Redis
):
    slept: list[float] = []
    async with services() as opened:
        await opened.dispatch.tick()
        kept.add_session("s1")

        async def tick() -> None:
            slept.append(await opened.dispatch.tick())

        async with anyio.create_task_group() as group:
            valkey.client_pause(10_000, all=False)
            group.start_soon(tick)
            await eventually_beside(lambda: kept.session("s1")["lease_id"])
            private.kill("postgres")
            private.kill("valkey")

        assert slept == [BACKING_OFF[0]]


async def test_a_failed_delivery_that_cannot_be_marked_waits_for_its_lease_to_end(
    services: OpenServices, private: EmbeddedServers, kept: Stored, valkey: redis.Redis
):
    event_id = kept.add_message(kept.add_session("s1"), 1)
    async with services() as opened, anyio.create_task_group() as group:
        valkey.client_pause(10_000, all=False)
        group.start_soon(opened.relay.relay, ["s1"])
        await eventually_beside(lambda: kept.delivery(event_id)["attempts"] == 1)
        private.kill("postgres")
        private.kill("valkey")

    private.start_again("postgres")
    back = Stored(private.database_url)
    row = back.delivery(event_id)
    back.close()
    assert (row["attempts"], row["delivered_at"], row["last_error"]) == (1, None, None)


async def test_an_event_that_could_not_be_delivered_is_found_by_the_sweep(
    services: OpenServices, private: EmbeddedServers, kept: Stored, sandbox: SandboxClient
):
    created = sandbox.create_session(steps=[[0, "COMPLETED"]], faults=[{"kind": "hold"}])
    session_id = created["session_id"]
    async with services() as opened:
        await opened.track.track(TrackArguments(session_id=session_id))
        ((session_ids, lease_id),) = polls(private.redis_url)
        async with anyio.create_task_group() as group:
            group.start_soon(opened.poll.poll, session_ids, lease_id)
            await anyio.to_thread.run_sync(sandbox.wait_for_held)
            private.kill("valkey")
            sandbox.release()
        assert kept.session(session_id)["outcome"] == "completed"
        await eventually_beside(lambda: kept.value("SELECT last_error FROM outbox_deliveries"))

        private.start_again("valkey")
        with anyio.fail_after(30):
            while not (sent := relays(private.redis_url)):  # noqa: ASYNC110 - a tick says how long
                await anyio.sleep(await opened.dispatch.tick())

    assert sent == [[session_id]]
