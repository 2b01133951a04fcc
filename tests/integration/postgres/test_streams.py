"""A lost stream is found by its epoch, and what was in it is redelivered."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.stored import Stored
from worker.adapters.postgres.outbox.repository import PostgresOutbox

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=30)
BOTH = ("redis_stream", "celery")
DAY = timedelta(days=1)


async def claimed(outbox: PostgresOutbox) -> set[tuple[str, UUID]]:
    return {(d.sink, d.event_id) for d in await outbox.claim(("s1",), BOTH, lease=LEASE)}


async def renew(
    outbox: PostgresOutbox, old: str | None, new: str, *, since: timedelta = DAY
) -> bool:
    return await outbox.renew_epoch("the-stream", "redis_stream", old=old, new=new, since=since)


async def redeliver(outbox: PostgresOutbox, *, limit: int = 100) -> int:
    return await outbox.redeliver("the-stream", "redis_stream", limit=limit)


async def test_an_epoch_is_renewed_by_the_first_who_knows_the_old_one(outbox: PostgresOutbox):
    assert await outbox.epoch("the-stream") is None

    assert await renew(outbox, None, "one")
    assert not await renew(outbox, None, "another")
    assert await outbox.epoch("the-stream") == "one"

    assert await renew(outbox, "one", "two")
    assert not await renew(outbox, "one", "three")
    assert await outbox.epoch("the-stream") == "two"
    assert await outbox.epoch("another-stream") is None


async def test_what_a_lost_stream_held_is_sent_again_under_its_ids(
    outbox: PostgresOutbox, stored: Stored
):
    stored.add_session("s1")
    young = stored.add_message("s1", 1, sinks=BOTH)
    old = stored.add_message("s1", 2)
    dead = stored.add_message("s1", 3)
    stored.rows("UPDATE outbox_deliveries SET delivered_at = now() - interval '1 h'")
    stored.rows(
        "UPDATE outbox_deliveries SET delivered_at = now() - interval '25 h' WHERE event_id = %s",
        old,
    )
    stored.rows(
        "UPDATE outbox_deliveries SET delivered_at = NULL, dead_at = now() WHERE event_id = %s",
        dead,
    )
    await renew(outbox, None, "one")

    assert await redeliver(outbox) == 0
    assert await renew(outbox, "one", "two")

    assert [await redeliver(outbox) for _ in range(2)] == [1, 0]
    assert await claimed(outbox) == {("redis_stream", young)}
    assert stored.value("SELECT resend_from FROM stream_generations") is None


async def test_a_large_stream_is_sent_again_in_pieces(outbox: PostgresOutbox, stored: Stored):
    stored.add_session("s1")
    for number in range(1, 6):
        stored.add_message("s1", number)
    stored.rows("UPDATE outbox_deliveries SET delivered_at = now() - interval '1 h'")
    await renew(outbox, None, "one")
    await renew(outbox, "one", "two")

    assert [await redeliver(outbox, limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_delivery_under_way_when_the_stream_was_lost_is_delivered_anew(
    outbox: PostgresOutbox, stored: Stored
):
    """It may have gone into the lost stream, so it must not be marked delivered."""
    stored.add_session("s1")
    event_id = stored.add_message("s1", 1)
    await renew(outbox, None, "one")
    (under_way,) = await outbox.claim(("s1",), BOTH, lease=LEASE)

    await renew(outbox, "one", "two")
    await outbox.mark_delivered(under_way)

    assert await claimed(outbox) == {("redis_stream", event_id)}
