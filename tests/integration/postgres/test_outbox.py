"""The outbox in Postgres: claims by lease, in order per payment session and sink."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import anyio
import pytest

from tests.support.stored import Stored
from worker.adapters.postgres.outbox.repository import PostgresOutbox
from worker.domain.deliveries import RetryDecision
from worker.services.outbox import Delivery

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=30)
STREAM = ("redis_stream",)
BOTH = ("redis_stream", "celery")
DAY = timedelta(days=1)


async def claim(
    outbox: PostgresOutbox, *session_ids: str, sinks: tuple[str, ...] = STREAM
) -> list[Delivery]:
    return await outbox.claim(session_ids or ("s1",), sinks, lease=LEASE)


async def claimed_ids(
    outbox: PostgresOutbox, *session_ids: str, sinks: tuple[str, ...] = STREAM
) -> set[tuple[str, UUID]]:
    return {(d.sink, d.event_id) for d in await claim(outbox, *session_ids, sinks=sinks)}


# --- order


async def test_a_session_and_sink_has_its_messages_claimed_one_after_the_other(
    outbox: PostgresOutbox, stored: Stored
):
    stored.add_session("s1")
    ids = [stored.add_message("s1", sequence) for sequence in (1, 2, 3)]
    order = []

    while claimed := await claim(outbox):
        (delivery,) = claimed
        assert await claim(outbox) == []
        await outbox.mark_delivered(delivery)
        order.append(delivery.event_id)

    assert order == ids
    assert stored.delivery(ids[0])["delivered_at"] is not None


async def test_marks_made_together_each_say_whether_their_session_has_more(
    outbox: PostgresOutbox, stored: Stored
):
    for session_id in ("last", "more", "stale"):
        stored.add_session(session_id)
        stored.add_message(session_id, 1)
    stored.add_message("more", 2)
    stored.add_message("stale", 2)
    claimed = {each.session_id: each for each in await claim(outbox, "last", "more", "stale")}
    stored.rows("UPDATE outbox_deliveries SET attempts = 9 WHERE session_id = 'stale'")
    marked: dict[str, bool] = {}

    async def mark(delivery: Delivery) -> None:
        marked[delivery.session_id] = await outbox.mark_delivered(delivery)

    async with anyio.create_task_group() as group:
        for delivery in claimed.values():
            group.start_soon(mark, delivery)

    assert marked == {"last": False, "more": True, "stale": False}
    delivered = stored.rows(
        "SELECT session_id FROM outbox_deliveries WHERE delivered_at IS NOT NULL ORDER BY 1"
    )
    assert delivered == [{"session_id": "last"}, {"session_id": "more"}]


async def test_a_claimed_delivery_carries_what_is_to_be_delivered(
    outbox: PostgresOutbox, stored: Stored
):
    stored.add_session("s1", authorization_token=b"encrypted")
    authorized = stored.add_message("s1", 1, event_type="payment_session.authorized")
    placed = stored.add_message("s1", 2, event_type="payment_session.order_placed")

    (first,) = await claim(outbox)
    await outbox.mark_delivered(first)
    (second,) = await claim(outbox)

    assert (first.event_id, first.session_id, first.attempts) == (authorized, "s1", 1)
    assert first.envelope["type"] == "payment_session.authorized"
    assert first.encrypted_token == b"encrypted"
    assert "encrypted" not in repr(first)
    assert (second.event_id, second.encrypted_token) == (placed, None)


async def test_only_the_sessions_and_sinks_asked_for_are_claimed(
    outbox: PostgresOutbox, stored: Stored
):
    stored.add_session("s1")
    stored.add_session("s2")
    first = stored.add_message("s1", 1, sinks=BOTH)
    second = stored.add_message("s2", 1, sinks=BOTH)

    assert await claimed_ids(outbox, "s1") == {("redis_stream", first)}
    assert await claimed_ids(outbox, "s1", "s2", sinks=BOTH) == {
        ("celery", first),
        ("redis_stream", second),
        ("celery", second),
    }


async def test_a_failed_message_blocks_those_behind_it_and_nobody_else(
    outbox: PostgresOutbox, stored: Stored
):
    stored.add_session("s1")
    stored.add_session("s2")
    failing = stored.add_message("s1", 1, sinks=BOTH)
    behind = stored.add_message("s1", 2, sinks=BOTH)
    elsewhere = stored.add_message("s2", 1)
    (delivery,) = await claim(outbox, "s1")
    await outbox.mark_failed(
        delivery, error="redis: ConnectionError", decision=RetryDecision(wait=DAY)
    )

    assert await claimed_ids(outbox, "s1", "s2") == {("redis_stream", elsewhere)}
    (other_sink,) = await claim(outbox, "s1", sinks=("celery",))
    await outbox.mark_delivered(other_sink)
    assert await claimed_ids(outbox, "s1", sinks=BOTH) == {("celery", behind)}

    row = stored.delivery(failing)
    assert (row["attempts"], row["last_error"]) == (1, "redis: ConnectionError")
    assert row["delivered_at"] is None


async def test_a_dead_message_frees_those_behind_it(outbox: PostgresOutbox, stored: Stored):
    stored.add_session("s1")
    dead = stored.add_message("s1", 1, due_in=600)
    behind = stored.add_message("s1", 2)
    assert await claim(outbox) == []

    stored.rows("UPDATE outbox_deliveries SET dead_at = now() WHERE event_id = %s", dead)

    assert await claimed_ids(outbox) == {("redis_stream", behind)}


async def test_relays_at_once_never_claim_the_same_message(outbox: PostgresOutbox, stored: Stored):
    for number in range(20):
        stored.add_message(stored.add_session(f"s{number}"), 1)
    everyone = [f"s{number}" for number in range(20)]
    found: list[UUID] = []

    async def claim_all() -> None:
        found.extend(d.event_id for d in await claim(outbox, *everyone))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(claim_all)

    assert len(found) == len(set(found)) == 20


# --- the lease


async def test_a_claim_that_ran_out_is_claimed_again_as_the_next_attempt(
    outbox: PostgresOutbox, stored: Stored
):
    stored.add_message(stored.add_session("s1"), 1)
    await claim(outbox)
    stored.make_deliveries_due()

    (again,) = await claim(outbox)

    assert again.attempts == 2


@pytest.mark.parametrize("mark", ["delivered", "failed"])
async def test_marking_after_another_claimed_it_changes_nothing(
    outbox: PostgresOutbox, stored: Stored, mark: str
):
    event_id = stored.add_message(stored.add_session("s1"), 1)
    (mine,) = await claim(outbox)
    stored.make_deliveries_due()
    await claim(outbox)
    before = stored.delivery(event_id)

    if mark == "delivered":
        await outbox.mark_delivered(mine)
    else:
        await outbox.mark_failed(mine, error="too late", decision=RetryDecision(wait=DAY))

    assert stored.delivery(event_id) == before


async def test_a_delivery_forgets_the_errors_before_it(outbox: PostgresOutbox, stored: Stored):
    event_id = stored.add_message(stored.add_session("s1"), 1)
    (first,) = await claim(outbox)
    await outbox.mark_failed(
        first, error="redis: TimeoutError", decision=RetryDecision(wait=timedelta(0))
    )
    (second,) = await claim(outbox)

    await outbox.mark_delivered(second)

    row = stored.delivery(event_id)
    assert (row["attempts"], row["last_error"]) == (2, None)
    assert row["delivered_at"] is not None


# --- what is due


async def test_the_due_sessions_are_those_whose_oldest_message_is_due(
    outbox: PostgresOutbox, stored: Stored
):
    for session_id in ("due", "waiting", "done", "elsewhere", "due-later"):
        stored.add_session(session_id)
    stored.add_message("due", 1, due_in=-1)
    stored.add_message("due", 2, due_in=-1)
    stored.add_message("waiting", 1, due_in=600)
    stored.add_message("waiting", 2)
    stored.add_message("elsewhere", 1, sinks=("webhook",))
    stored.add_message("due-later", 1, due_in=600)
    done = stored.add_message("done", 1)
    stored.rows("UPDATE outbox_deliveries SET delivered_at = now() WHERE event_id = %s", done)

    assert await outbox.due_sessions({"redis_stream": 10}) == ["due"]
    assert await outbox.due_sessions({"webhook": 10}) == ["elsewhere"]


async def test_the_due_sessions_are_each_named_once_the_longest_due_first(
    outbox: PostgresOutbox, stored: Stored
):
    for number in range(4):
        stored.add_session(f"s{number}")
        stored.add_message(f"s{number}", 1, sinks=BOTH, due_in=-number)

    assert sorted(await outbox.due_sessions(dict.fromkeys(BOTH, 100))) == ["s0", "s1", "s2", "s3"]
    assert await outbox.due_sessions({"redis_stream": 1}) == ["s3"]
