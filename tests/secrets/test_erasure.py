"""What is not needed any more goes: spent tokens, old sessions, and who asks to be forgotten."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import psycopg
import pytest
import redis
from cryptography.fernet import Fernet
from structlog.testing import capture_logs

from devkit.sandbox.server import SandboxClient
from tests.support.commands import run_commands
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.refused import add_early_confirmation, add_refused
from tests.support.stored import Stored
from tests.support.text_locations import database_locations, redis_locations
from tests.support.tokens import add_authorized, add_many_authorized, decrypted
from tests.support.wired import OpenServices
from worker.domain.track_arguments import TrackArguments
from worker.services.housekeeping import BATCH

STREAM = "payment-session-events"


@pytest.fixture
def deployment(environment: dict[str, str], tmp_path: Path) -> Iterator[Deployment]:
    with deploy(environment, tmp_path) as deployed:
        yield deployed


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as connected:
        yield connected


@pytest.mark.anyio
async def test_a_token_is_kept_for_its_hour_and_logged_if_nobody_got_it_in_time(
    services: OpenServices, stored: Stored, environment: dict[str, str]
):
    key = environment["TOKEN_ENCRYPTION_KEYS"]
    for good, good_for in (("good", 60), ("spent", -1)):
        for delivered in (True, False):
            name = f"{good} {'delivered' if delivered else 'undelivered'}"
            add_authorized(stored, name, name, key=key, good_for=good_for, delivered=delivered)
    many = [f"many-{number}" for number in range(BATCH + 1)]
    add_many_authorized(stored, many, key=key)
    stored.rows(
        "UPDATE payment_sessions SET finished_at = now() - interval '61 minutes'"
        " WHERE session_id LIKE %s OR session_id = 'spent undelivered'",
        "many-%",
    )

    with capture_logs() as logged:
        async with services() as opened:
            await opened.housekeeping.purge()

    kept = {"good delivered": "good delivered", "good undelivered": "good undelivered"}
    assert decrypted(stored, keys=[key]) == kept
    warned = [line for line in logged if line["log_level"] == "warning"]
    assert [(line["event"], line["session_id"]) for line in warned] == [
        ("token_expired_undelivered", "spent undelivered")
    ]
    erased = [line for line in logged if line["event"] == "tokens_erased"]
    assert len(erased) > 1
    assert sum(line["count"] for line in erased) == len(many) + 2
    assert sum(line["undelivered"] for line in erased) == 1


@pytest.mark.anyio
async def test_the_token_of_an_open_session_is_kept_however_long_nobody_could_read_it(
    services: OpenServices, stored: Stored, environment: dict[str, str]
):
    """It is the session's proof of payment: without it the session would end as expired."""
    key = environment["TOKEN_ENCRYPTION_KEYS"]
    add_authorized(stored, "open", "kept", key=key, good_for=-1)
    stored.rows(
        "UPDATE payment_sessions SET status = 'IN_PROGRESS', outcome = NULL, finished_at = NULL,"
        " next_poll_at = now(), last_polled_at = now() - interval '5 h',"
        " tracked_at = now() - interval '6 h'"
    )

    async with services() as opened:
        await opened.housekeeping.purge()

    assert decrypted(stored, keys=[key]) == {"open": "kept"}


@pytest.mark.anyio
async def test_a_token_that_nobody_got_is_kept_for_an_hour_after_it_was_read(
    services: OpenServices, stored: Stored, environment: dict[str, str]
):
    """What the event calls its end counts from the read before, where Klarna does not say when."""
    key = environment["TOKEN_ENCRYPTION_KEYS"]
    add_authorized(stored, "kp", "the-token", key=key, good_for=-1, delivered=False)

    async with services() as opened:
        await opened.housekeeping.purge()

    assert decrypted(stored, keys=[key]) == {"kp": "the-token"}


@pytest.mark.anyio
async def test_a_token_goes_before_its_hour_is_over_once_its_order_is_confirmed(
    services: OpenServices, stored: Stored, environment: dict[str, str]
):
    """Where every sink has it: one that has not may be the one that locations the order."""
    key = environment["TOKEN_ENCRYPTION_KEYS"]
    for name, delivered in (("delivered", True), ("undelivered", False), ("unconfirmed", True)):
        add_authorized(stored, name, name, key=key, good_for=60, delivered=delivered)

    async with services() as opened:
        await opened.confirmation.confirm_order("delivered", "order-1")
        await opened.confirmation.confirm_order("undelivered", "order-2")
        await opened.housekeeping.purge()

    assert set(decrypted(stored, keys=[key])) == {"undelivered", "unconfirmed"}


@pytest.mark.anyio
async def test_an_event_whose_token_is_spent_comes_all_the_same_without_it(
    services: OpenServices, stored: Stored, environment: dict[str, str], client: redis.Redis
):
    """The event of an authorization is late, and its time says that it cannot be used."""
    key = environment["TOKEN_ENCRYPTION_KEYS"]
    add_authorized(stored, "late", "the-token", key=key, good_for=-1, delivered=False)
    stored.rows("UPDATE payment_sessions SET finished_at = now() - interval '61 minutes'")

    async with services() as opened:
        await opened.housekeeping.purge()
        await opened.relay.relay(["late"])

    ((_, entry),) = client.xrange(STREAM)
    assert b"authorization_expires_at" in entry[b"event"]
    assert b"authorization_token" not in entry[b"event"]


@pytest.mark.anyio
async def test_the_purge_keeps_what_is_open_however_old(services: OpenServices, stored: Stored):
    stored.add_session("open", tracked_at="2020-01-01T00:00:00Z", expires_at="2199-01-01T00:00:00Z")

    async with services(RETENTION_DAYS="1") as opened:
        assert await opened.housekeeping.purge() == 0

    assert stored.session("open")["outcome"] is None


@pytest.mark.anyio
async def test_tracking_what_is_erased_in_that_moment_follows_it_anew(
    services: OpenServices, stored: Stored, database_url: str
):
    """The row is found, and gone before it is locked: the shop's message must not end there."""
    stored.add_session("s1", outcome="expired", finished_at="now", next_poll_at=None)

    async with services() as opened, anyio.create_task_group() as group:
        with psycopg.connect(database_url) as erasing:
            erasing.execute("SELECT FROM payment_sessions FOR UPDATE")
            group.start_soon(opened.track.track, TrackArguments(session_id="s1"))
            await anyio.to_thread.run_sync(_wait_for_a_lock, stored)
            erasing.execute("DELETE FROM payment_sessions")

    assert stored.session("s1")["outcome"] is None


def _wait_for_a_lock(stored: Stored) -> None:
    eventually(
        lambda: stored.rows(
            "SELECT pid FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ),
        because="somebody waits for the row",
    )


def test_erase_leaves_nothing_of_a_session_even_while_it_is_polled(
    deployment: Deployment, sandbox: SandboxClient, client: redis.Redis, database_url: str
):
    """What the poll under way then finds out is dropped, and nothing of it comes back."""
    polled = sandbox.create_session(steps=[[0, "WAITING"]])["session_id"]
    other = sandbox.create_session(steps=[[0, "COMPLETED"]])["session_id"]
    deployment.start("worker")
    deployment.track(polled)
    eventually(lambda: deployment.transitions(polled), because="it is read once")
    sandbox.set_status(polled, "COMPLETED")
    sandbox.add_fault("hold", session_id=polled)
    deployment.track(polled)
    sandbox.wait_for_held()

    said = run_commands(deployment.environment, ["erase", polled, "--yes", "--json"])
    sandbox.release()
    eventually(lambda: "observation_dropped" in deployment.logs(), because="it is dropped")
    deployment.track(other)
    deployment.wait_for_outcomes(other)
    deployment.received_of(other)

    assert '"sessions": 1' in said["erase"].text
    locations = dict([*database_locations(database_url), *redis_locations(client)])
    locations.pop("pg_stat_activity")
    assert {name for name, text in locations.items() if polled in text} == set()
    assert other in locations["table payment_sessions"]
    assert other in locations[f"Redis key {STREAM}"]


def test_erase_deletes_refused_messages_that_name_the_session_and_its_early_confirmation(
    environment: dict[str, str], stored: Stored
):
    """Found by its column, or by the hash of any key: the arguments name it, encrypted."""
    old, new = environment["TOKEN_ENCRYPTION_KEYS"], Fernet.generate_key().decode()
    for hashed_by in (old, new):
        add_refused(stored, {"session_id": "erased-session"}, keys=[hashed_by])
    add_refused(stored, keys=[new], session_id="erased-session", arguments=None)
    other = add_refused(stored, "another-session", keys=[new])
    add_early_confirmation(stored, "erased-session", hours_ago=1)
    add_early_confirmation(stored, "another-session", hours_ago=1)

    both = environment | {"TOKEN_ENCRYPTION_KEYS": f"{new},{old}"}
    said = run_commands(both, ["erase", "erased-session", "--yes", "--json"])["erase"]

    assert json.loads(said.text) == {
        "session_id": "erased-session",
        "sessions": 0,
        "refused_messages": 3,
        "early_confirmations": 1,
        "stream_entries": 0,
    }
    assert stored.value("SELECT refused_id FROM refused_messages") == other
    assert stored.value("SELECT session_id FROM early_confirmations") == "another-session"


def test_erase_waits_for_the_event_that_is_on_its_way(
    environment: dict[str, str], stored: Stored, client: redis.Redis
):
    """A relay that took the message before its rows went may still add it to the stream."""
    stored.add_session("s1", outcome="expired", finished_at="now", next_poll_at=None)
    event_id = stored.add_message("s1", 1, due_in=8)
    stored.rows("UPDATE outbox_deliveries SET attempts = 1")
    client.xadd(STREAM, {"id": "earlier", "subject": "s1"})
    client.xadd(STREAM, {"id": "of another", "subject": "s2"})

    said: list[str] = []
    erase = ["erase", "s1", "--yes", "--json"]
    command = threading.Thread(
        target=lambda: said.append(run_commands(environment, erase)["erase"].text)
    )
    command.start()
    eventually(lambda: client.xlen(STREAM) == 1, because="the stream was looked through")
    client.xadd(STREAM, {"id": str(event_id), "subject": "s1"})
    command.join(30)

    assert '"stream_entries": 2' in said[0]
    assert [entry[b"subject"] for _, entry in client.xrange(STREAM)] == [b"s2"]
