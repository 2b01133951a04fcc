"""Tracking over the real database and broker: stored and sent, or neither."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import anyio
import psycopg
import pytest
import redis
import structlog

from devkit.sandbox.server import SandboxClient
from tests.support.databases import Databases
from tests.support.queues import POLLS, polled_ids, polls
from tests.support.stored import Stored
from tests.support.wired import OpenServices, opened_services
from worker.adapters import clock
from worker.domain.errors import ConflictError, InvalidArgumentError
from worker.domain.track_arguments import TrackArguments
from worker.domain.tracking import TrackEffect
from worker.services.track import Sent

pytestmark = pytest.mark.anyio


async def test_a_tracked_session_is_stored_and_its_first_poll_is_on_its_way(
    services: OpenServices, stored: Stored, redis_url: str
):
    async with services() as opened:
        effect = await opened.track.track(TrackArguments(session_id="s1", reference="order-1"))

    assert effect is TrackEffect.CREATED
    row = stored.session("s1")
    assert (row["account"], row["kind"], row["reference"]) == ("default", "hpp", "order-1")
    assert polls(redis_url) == [(["s1"], row["lease_id"])]


@pytest.mark.parametrize("limit", ["10000", "1"], ids=["all are paid for", "few are paid for"])
async def test_what_is_tracked_at_once_shares_a_lease_and_is_polled_as_far_as_it_is_paid(
    services: OpenServices, stored: Stored, redis_url: str, limit: str
):
    names = [f"s{number}" for number in range(10)]
    async with services(KLARNA_READ_LIMIT=limit) as opened, anyio.create_task_group() as group:
        for name in names:
            group.start_soon(opened.track.track, TrackArguments(session_id=name))

    sent = {name: lease_id for ids, lease_id in polls(redis_url) for name in ids}
    leases = {name: stored.session(name)["lease_id"] for name in names}
    assert sent == {name: lease_id for name, lease_id in leases.items() if lease_id}
    assert len(set(sent.values())) == 1
    assert (len(sent) == len(names)) == (limit == "10000")


async def test_a_session_that_is_finished_sends_nothing(
    services: OpenServices, stored: Stored, redis_url: str
):
    stored.add_session("s1", outcome="completed", finished_at="now", next_poll_at=None)

    async with services() as opened:
        effect = await opened.track.track(TrackArguments(session_id="s1"))

    assert effect is TrackEffect.UNCHANGED
    assert polls(redis_url) == []


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"session_id": None}, "session_id"),
    "a slash in the id": ({"session_id": "a/b"}, "session_id"),
    "an id that is no text": ({"session_id": 7.5}, "session_id"),
    "a strange origin": ({"session_url": "https://evil.test/s1"}, "session_url"),
    "a url that is no text": ({"session_url": ["x"]}, "session_url"),
    "an unknown account": ({"account": "nobody"}, "account"),
    "an account that is no text": ({"account": 1}, "account"),
    "an unknown kind": ({"kind": "checkout"}, "kind"),
}


@pytest.mark.parametrize(("arguments", "field"), BAD.values(), ids=BAD.keys())
async def test_a_bad_argument_is_named_and_nothing_is_stored_or_sent(
    services: OpenServices,
    stored: Stored,
    redis_url: str,
    sandbox: SandboxClient,
    arguments: dict[str, Any],
    field: str,
):
    async with services() as opened:
        with pytest.raises(InvalidArgumentError) as raised:
            await opened.track.track(TrackArguments(**({"session_id": "s1"} | arguments)))

    assert raised.value.field == field
    assert stored.rows("SELECT * FROM payment_sessions") == []
    assert polls(redis_url) == sandbox.requests() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires_at": "tomorrow"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"expires_at": ["2030"]},
        {"expires_at": "9999-01-01T00:00:00Z"},
        {"reference": "a\nb"},
        {"reference": "a\u00a0b"},
    ],
    ids=ascii,
)
async def test_a_wrong_optional_argument_is_left_out_and_the_session_tracked(
    services: OpenServices, stored: Stored, wrong: dict[str, Any]
):
    async with services() as opened:
        with structlog.testing.capture_logs() as lines:
            effect = await opened.track.track(TrackArguments(**({"session_id": "s1"} | wrong)))

    (field,) = wrong
    assert effect is TrackEffect.CREATED
    assert stored.session("s1")[field] is None
    (left_out,) = [line for line in lines if line["event"] == "argument_left_out"]
    assert (left_out["session_id"], left_out["field"]) == ("s1", field)


async def test_a_reference_that_the_database_cannot_store_is_left_out(
    databases: Databases, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    url = databases.create_latin1()
    try:
        async with opened_services(environment | {"DATABASE_URL": url}, monkeypatch) as opened:
            euro = TrackArguments(session_id="s1", reference="10 \u20ac")
            plain = TrackArguments(session_id="s2", reference="d\u00e9j\u00e0")
            effects = [await opened.track.track(each) for each in (euro, plain)]
        with psycopg.connect(url) as connection:
            stored = connection.execute(
                "SELECT session_id, reference FROM payment_sessions ORDER BY 1"
            ).fetchall()
    finally:
        databases.drop(url)

    assert effects == [TrackEffect.CREATED, TrackEffect.CREATED]
    assert stored == [("s1", None), ("s2", "d\u00e9j\u00e0")]


async def test_a_first_poll_asked_for_later_waits_and_hurries_nothing(
    services: OpenServices, stored: Stored, redis_url: str
):
    def later(minutes: int) -> Sent:
        return Sent(first_poll_at=clock.now() + timedelta(minutes=minutes))

    def minutes_to_poll() -> int:
        return stored.value(
            "SELECT round(EXTRACT(epoch FROM next_poll_at - now()) / 60)::int FROM payment_sessions"
        )

    async with services() as opened:
        await opened.track.track(TrackArguments(session_id="s1"), sent=later(120))
        assert (minutes_to_poll(), polls(redis_url)) == (40, [])
        await opened.track.track(TrackArguments(session_id="s1"), sent=later(10))
        assert (minutes_to_poll(), polls(redis_url)) == (10, [])
        await opened.track.track(TrackArguments(session_id="s1"), sent=later(30))
        assert (minutes_to_poll(), polls(redis_url)) == (10, [])
        assert stored.session("s1")["nudged_at"] is None
        await opened.track.track(TrackArguments(session_id="s1"), sent=later(-5))

    assert minutes_to_poll() == 0
    assert len(polls(redis_url)) == 1


async def test_a_retried_message_does_nothing_against_a_newer_one(
    services: OpenServices, stored: Stored
):
    async with services() as opened:
        before = Sent(asked_at=clock.now() - timedelta(minutes=1))
        assert await opened.track.track(TrackArguments(session_id="s1"), sent=before) == "created"
        again = await opened.track.track(
            TrackArguments(session_id="s1", reference="old"), sent=before
        )
        newer = Sent(asked_at=clock.now() + timedelta(minutes=1))
        assert await opened.track.track(TrackArguments(session_id="s1"), sent=newer) == "nudged"

    assert again is TrackEffect.SUPERSEDED
    assert stored.session("s1")["reference"] is None


async def test_every_argument_is_taken_as_the_shop_may_write_it(
    services: OpenServices, stored: Stored, sandbox_url: str
):
    expires_at = (clock.now() + timedelta(hours=47)).replace(microsecond=507_000)
    async with services() as opened:
        await opened.track.track(
            TrackArguments(
                session_id="s1",
                session_url=f"{sandbox_url}/payments/v1/sessions/s1",
                expires_at=expires_at.astimezone(timezone(timedelta(hours=2))).isoformat(),
                account="DEFAULT",
                kind="kp",
            )
        )

    row = stored.session("s1")
    assert (row["account"], row["kind"]) == ("default", "kp")
    assert row["expires_at"] == expires_at
    assert row["session_url"] == f"{sandbox_url}/payments/v1/sessions/s1"


async def test_a_conflict_is_reported_at_once(
    services: OpenServices, stored: Stored, redis_url: str
):
    stored.add_session("s1", status="WAITING", reference="order-1")

    async with services() as opened:
        with pytest.raises(ConflictError):
            await opened.track.track(TrackArguments(session_id="s1", reference="order-2"))

    assert polls(redis_url) == []


async def test_a_session_without_account_needs_the_default_one(
    services: OpenServices, stored: Stored, sandbox_url: str
):
    other = {
        "KLARNA_USERNAME": "",
        "KLARNA_PASSWORD": "",
        "KLARNA_ACCOUNTS__OTHER__USERNAME": "u",
        "KLARNA_ACCOUNTS__OTHER__PASSWORD": "p",
        "KLARNA_ACCOUNTS__OTHER__BASE_URL": sandbox_url,
    }

    async with services(**other) as opened:
        with pytest.raises(InvalidArgumentError) as raised:
            await opened.track.track(TrackArguments(session_id="s1"))
        await opened.track.track(TrackArguments(session_id="s2", account="other"))

    assert raised.value.field == "account"
    assert [row["session_id"] for row in stored.rows("SELECT * FROM payment_sessions")] == ["s2"]


async def test_a_first_poll_that_cannot_be_sent_gives_its_lease_back(
    services: OpenServices, stored: Stored, redis_url: str
):
    async with services() as opened:
        with redis.Redis.from_url(redis_url) as client:
            client.set(POLLS, "no list: as good as out of memory, or a read-only replica")

            effect = await opened.track.track(TrackArguments(session_id="s1"))

            client.delete(POLLS)
        assert effect is TrackEffect.CREATED
        assert stored.session("s1")["lease_id"] is None
        await opened.dispatch.tick()

    assert polled_ids(redis_url) == ["s1"]
