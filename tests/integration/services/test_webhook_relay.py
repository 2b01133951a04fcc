"""Webhooks from the outbox: one endpoint's trouble is its own, and has an end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
import redis
from cryptography.fernet import Fernet
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.stored import Stored
from tests.support.webhook_receiver import WebhookReceiver, a_secret, webhook_receiver
from tests.support.wired import OpenServices, eventually_beside
from worker.adapters import clock
from worker.adapters.postgres.engine import transaction
from worker.adapters.postgres.outbox.rows import insert_messages
from worker.adapters.sinks.webhook import IN_FLIGHT
from worker.domain.deliveries import Route
from worker.domain.events import Event, EventType

pytestmark = pytest.mark.anyio

STREAM = "payment-session-events"
SECRET = a_secret()
SINKS = ("webhook", "redis_stream")
UNDELIVERED = "SELECT count(*) FROM outbox_deliveries WHERE delivered_at IS NULL AND sink = %s"


@pytest.fixture
def shop() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as opened:
        yield opened


@pytest.fixture
def erp() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as opened:
        yield opened


@pytest.fixture
def key(environment: dict[str, str]) -> Fernet:
    return Fernet(environment["TOKEN_ENCRYPTION_KEYS"])


def to(shop: WebhookReceiver, erp: WebhookReceiver | None = None) -> dict[str, str]:
    """The settings of one endpoint, or of two."""
    settings = {
        "EVENT_SINKS": "redis_stream,webhook",
        "WEBHOOK_URL": shop.url,
        "WEBHOOK_SECRETS": SECRET,
        "WEBHOOK_ALLOW_PRIVATE": "true",
    }
    if erp:
        settings |= {
            "WEBHOOK_ENDPOINTS__ERP__URL": erp.url,
            "WEBHOOK_ENDPOINTS__ERP__SECRETS": SECRET,
        }
    return settings


def ids(receiver: WebhookReceiver) -> list[str]:
    return [request.verified(SECRET)["id"] for request in receiver.received]


async def delivered(stored: Stored, sink: str = "webhook") -> None:
    """Wait until nothing waits for the sink."""
    await eventually_beside(lambda: not stored.value(UNDELIVERED, sink))


async def failed(stored: Stored, event_id: object, sink: str = "webhook") -> dict[str, object]:
    """Wait until a delivery has failed; returns it."""
    await eventually_beside(lambda: stored.delivery(event_id, sink)["last_error"])
    return stored.delivery(event_id, sink)


async def test_a_sessions_messages_arrive_in_their_order_the_token_with_its_event(
    services: OpenServices, stored: Stored, shop: WebhookReceiver, environment: dict[str, str]
):
    key = Fernet(environment["TOKEN_ENCRYPTION_KEYS"])
    stored.add_session("s1", authorization_token=key.encrypt(b"the-token"))
    authorized = stored.add_message("s1", 1, sinks=SINKS, event_type="payment_session.authorized")
    other = stored.add_message("s1", 2, sinks=SINKS)

    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s1"])
        await delivered(stored)

    assert ids(shop) == [str(authorized), str(other)]
    assert shop.received[0].verified(SECRET)["data"]["authorization_token"] == "the-token"


async def test_an_endpoint_has_deliveries_of_its_event_types_only(
    stored: Stored, engine: AsyncEngine
):
    stored.add_session("s1")
    events = [
        Event(type=kind, session_id="s1", sequence=n, time=clock.now(), data={})
        for n, kind in ((1, EventType.AUTHORIZED), (2, EventType.EXPIRED))
    ]
    routes = [
        Route(sink="webhook"),
        Route(sink="webhook:erp", types=frozenset({EventType.EXPIRED})),
    ]

    async with transaction(engine) as connection:
        await insert_messages(connection, events, routes)

    rows = stored.rows("SELECT sink, sequence FROM outbox_deliveries ORDER BY sink, sequence")
    assert [(row["sink"], row["sequence"]) for row in rows] == [
        ("webhook", 1),
        ("webhook", 2),
        ("webhook:erp", 2),
    ]


async def test_events_that_no_endpoint_wants_are_messages_without_deliveries(
    stored: Stored, engine: AsyncEngine
):
    stored.add_session("s1")
    event = Event(type=EventType.EXPIRED, session_id="s1", sequence=1, time=clock.now(), data={})

    async with transaction(engine) as connection:
        wanted = frozenset({EventType.AUTHORIZED})
        await insert_messages(connection, [event], [Route(sink="webhook", types=wanted)])

    assert stored.value("SELECT count(*) FROM outbox_messages") == 1
    assert stored.value("SELECT count(*) FROM outbox_deliveries") == 0


async def test_sessions_without_an_event_for_it_take_no_room_from_those_that_have_one(
    services: OpenServices, stored: Stored, shop: WebhookReceiver
):
    silent = [stored.add_session(f"silent{number}") for number in range(3 * IN_FLIGHT)]
    accepted = [stored.add_session(f"s{number}") for number in range(IN_FLIGHT)]
    events = [str(stored.add_message(session_id, 1, sinks=SINKS)) for session_id in accepted]

    async with services(**to(shop)) as opened:
        await opened.relay.relay([*silent, *accepted])
        await delivered(stored)

    assert sorted(ids(shop)) == sorted(events)


async def test_what_finds_no_room_follows_when_there_is_some_without_a_sweep(
    services: OpenServices, stored: Stored, shop: WebhookReceiver
):
    sessions = [stored.add_session(f"s{number}") for number in range(3 * IN_FLIGHT)]
    events = [str(stored.add_message(session_id, 1, sinks=SINKS)) for session_id in sessions]

    async with services(**to(shop)) as opened:
        await opened.relay.relay(sessions)
        await delivered(stored)

    assert sorted(ids(shop)) == sorted(events)


async def test_an_endpoint_that_hangs_delays_neither_the_task_nor_anybody_else(
    services: OpenServices,
    stored: Stored,
    shop: WebhookReceiver,
    erp: WebhookReceiver,
    redis_url: str,
):
    sessions = [stored.add_session(f"s{number}") for number in range(2 * IN_FLIGHT)]
    for session_id in sessions:
        stored.add_message(session_id, 1, sinks=(*SINKS, "webhook:erp"))
        stored.add_message(session_id, 2, sinks=(*SINKS, "webhook:erp"))
    shop.answering.clear()

    async with services(**to(shop, erp)) as opened:
        await opened.relay.relay(sessions)
        # The task is over and the stream has everything; of the endpoint's, so many are tried.
        assert stored.value(UNDELIVERED, "redis_stream") == 0
        await eventually_beside(lambda: len(shop.received) == IN_FLIGHT)
        while stored.value(UNDELIVERED, "webhook:erp"):
            await opened.relay.relay(sessions)
        assert len(erp.received) == 4 * IN_FLIGHT
        assert len(shop.received) == IN_FLIGHT
        tried = "SELECT count(*) FROM outbox_deliveries WHERE sink = 'webhook' AND attempts > 0"
        assert stored.value(tried) == IN_FLIGHT

        shop.answering.set()
        await eventually_beside(lambda: len(shop.received) >= 2 * IN_FLIGHT)
    with redis.Redis.from_url(redis_url) as client:
        assert client.xlen(STREAM) == 4 * IN_FLIGHT


async def test_a_shutdown_cuts_a_hanging_delivery_short_and_it_is_delivered_after_its_lease(
    services: OpenServices,
    stored: Stored,
    shop: WebhookReceiver,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("worker.services.relay.CLOSE_SECONDS", 0.1)
    event_id = stored.add_message(stored.add_session("s1"), 1, sinks=("webhook",))
    shop.answering.clear()
    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s1"])
        await eventually_beside(lambda: shop.received)
    assert stored.delivery(event_id, "webhook")["delivered_at"] is None

    shop.answering.set()
    stored.make_deliveries_due()
    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s1"])
        await delivered(stored)

    assert ids(shop) == [str(event_id)] * 2


async def test_a_failing_event_delays_its_own_sessions_later_ones_alone(
    services: OpenServices, stored: Stored, shop: WebhookReceiver
):
    first = stored.add_message(stored.add_session("s1"), 1, sinks=("webhook",))
    behind = stored.add_message("s1", 2, sinks=("webhook",))
    elsewhere = stored.add_message(stored.add_session("s2"), 1, sinks=("webhook",))
    shop.answer = 500

    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s1"])
        assert (await failed(stored, first))["last_error"] == "HTTP 500"
        shop.answer = 204
        await opened.relay.relay(["s1", "s2"])
        await eventually_beside(lambda: stored.delivery(elsewhere, "webhook")["delivered_at"])
        assert stored.delivery(behind, "webhook")["attempts"] == 0

        stored.make_deliveries_due()
        await opened.relay.relay(["s1"])
        await delivered(stored)

    assert ids(shop) == [str(first), str(elsewhere), str(first), str(behind)]


async def test_an_endpoint_that_is_gone_is_sent_nothing_more_and_nothing_of_its_dies(
    services: OpenServices, stored: Stored, shop: WebhookReceiver, erp: WebhookReceiver
):
    both = ("webhook", "webhook:erp")
    first = stored.add_message(stored.add_session("s1"), 1, sinks=both)
    second = stored.add_message(stored.add_session("s2"), 1, sinks=both)
    shop.answer = 410

    async with services(**to(shop, erp)) as opened:
        await opened.relay.relay(["s1"])
        assert (await failed(stored, first))["last_error"] == "HTTP 410: the endpoint is gone"
        stored.make_deliveries_due()
        await opened.relay.relay(["s1", "s2"])
        await delivered(stored, "webhook:erp")
        await opened.dispatch.tick()

    assert len(shop.received) == 1
    row = stored.delivery(second, "webhook")
    assert (row["attempts"], row["dead_at"]) == (0, None)
    (disabled,) = stored.rows("SELECT * FROM webhook_endpoints")
    assert (disabled["sink"], disabled["reason"]) == ("webhook", "HTTP 410: the endpoint is gone")
    assert disabled["disabled_at"] is not None


async def test_a_pause_that_an_endpoint_asks_for_holds_all_that_is_sent_to_it(
    services: OpenServices, stored: Stored, shop: WebhookReceiver
):
    first = stored.add_message(stored.add_session("s1"), 1, sinks=("webhook",))
    stored.add_message(stored.add_session("s2"), 1, sinks=("webhook",))
    shop.answer, shop.headers = 429, {"Retry-After": "600"}

    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s1"])
        row = await failed(stored, first)
        assert row["next_attempt_at"] - clock.now() > timedelta(minutes=9)
        shop.answer = 204
        stored.make_deliveries_due()
        await opened.relay.relay(["s1", "s2"])
        assert len(shop.received) == 1

        stored.rows("UPDATE webhook_endpoints SET held_until = clock_timestamp()")
        await opened.relay.relay(["s1", "s2"])
        await delivered(stored)

    assert len(shop.received) == 3


AUTHORIZED = "payment_session.authorized"


async def seconds_held(stored: Stored) -> float:
    """How long the endpoint is held from now on."""
    query = (
        "SELECT extract(epoch FROM max(held_until) - clock_timestamp())::float"
        " FROM webhook_endpoints"
    )
    return await eventually_beside(lambda: stored.value(query))


def add_authorization(
    stored: Stored, key: Fernet, session_id: str, *, sequence: int = 1, expires_in: int = 3600
) -> UUID:
    """An undelivered authorization whose token is valid for so many seconds."""
    if sequence == 1:
        stored.add_session(session_id, authorization_token=key.encrypt(b"the-token"))
    event_id = stored.add_message(session_id, sequence, sinks=("webhook",), event_type=AUTHORIZED)
    stored.rows(
        "UPDATE outbox_messages SET payload = jsonb_set(payload,"
        " '{data,authorization_expires_at}',"
        " to_jsonb(clock_timestamp() + %s * interval '1 s')) WHERE event_id = %s",
        expires_in,
        event_id,
    )
    return event_id


async def test_a_pause_ends_after_a_minute_if_an_authorization_waits(
    services: OpenServices, stored: Stored, shop: WebhookReceiver, key: Fernet
):
    """The pause that the authorization itself met, and that of another session's event."""
    authorized = add_authorization(stored, key, "s1")
    other = stored.add_message(stored.add_session("s2"), 1, sinks=("webhook",))
    shop.answer, shop.headers = 503, {"Retry-After": "3600"}

    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s1"])
        row = await failed(stored, authorized)
        assert row["next_attempt_at"] - clock.now() <= timedelta(seconds=60)
        assert 50 < await seconds_held(stored) <= 60

        stored.rows("DELETE FROM webhook_endpoints")
        await opened.relay.relay(["s2"])
        await failed(stored, other)
        assert await seconds_held(stored) > 3500
        await opened.dispatch.tick()
        assert 50 < await seconds_held(stored) <= 60


@pytest.mark.parametrize(("expires_in", "for_an_hour"), [(3600, False), (-1, True)])
async def test_an_authorization_that_comes_during_a_pause_waits_a_minute_at_most(
    *,
    services: OpenServices,
    stored: Stored,
    shop: WebhookReceiver,
    key: Fernet,
    expires_in: int,
    for_an_hour: bool,
):
    """One whose token has expired does not count, nor one for another endpoint."""
    stored.rows(
        "INSERT INTO webhook_endpoints (sink, held_until)"
        " SELECT sink, clock_timestamp() + interval '1 h'"
        " FROM unnest(ARRAY['webhook', 'webhook:erp']) AS sink"
    )
    add_authorization(stored, key, "s1", expires_in=expires_in)
    held = (
        "SELECT sink, held_until > clock_timestamp() + interval '61 s' AS long"
        " FROM webhook_endpoints ORDER BY sink"
    )

    async with services(**to(shop)) as opened:
        await opened.dispatch.tick()

    assert [row["long"] for row in stored.rows(held)] == [for_an_hour, True]


async def test_an_event_before_an_authorization_does_not_delay_it(
    services: OpenServices, stored: Stored, shop: WebhookReceiver, key: Fernet
):
    stored.add_session("s1", authorization_token=key.encrypt(b"the-token"))
    first = stored.add_message("s1", 1, sinks=("webhook",))
    add_authorization(stored, key, "s1", sequence=2)
    shop.answer, shop.headers = 500, {"Retry-After": "3600"}

    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s1"])
        row = await failed(stored, first)

    assert row["next_attempt_at"] - clock.now() <= timedelta(seconds=60)
    assert stored.rows("SELECT * FROM webhook_endpoints") == []


async def test_an_event_alone_waits_as_long_as_it_is_asked_to(
    services: OpenServices, stored: Stored, shop: WebhookReceiver
):
    """An hour at most, and by itself: a 500 says nothing of the endpoint's other events."""
    first = stored.add_message(stored.add_session("s1"), 1, sinks=("webhook",))
    shop.answer, shop.headers = 500, {"Retry-After": "7200"}

    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s1"])
        row = await failed(stored, first)

    wait = row["next_attempt_at"] - clock.now()
    assert timedelta(minutes=59) < wait <= timedelta(hours=1)
    assert stored.rows("SELECT * FROM webhook_endpoints") == []


async def test_after_three_days_a_delivery_is_dead_and_frees_those_behind_it(
    services: OpenServices, stored: Stored, shop: WebhookReceiver
):
    first = stored.add_message(stored.add_session("s1"), 1, sinks=SINKS)
    behind = stored.add_message("s1", 2, sinks=SINKS)
    stored.rows(
        "UPDATE outbox_deliveries SET due_since = due_since - interval '3 days'"
        " WHERE event_id = %s",
        first,
    )
    shop.answer = 500

    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s1"])
        row = await failed(stored, first)
        assert row["dead_at"] is not None
        assert row["last_error"] == "HTTP 500"
        shop.answer = 204
        await opened.relay.relay(["s1"])
        await eventually_beside(lambda: stored.delivery(behind, "webhook")["delivered_at"])

    assert stored.delivery(first)["delivered_at"] is not None
    assert stored.delivery(first, "webhook")["delivered_at"] is None


async def test_within_three_days_it_is_not(
    services: OpenServices, stored: Stored, shop: WebhookReceiver
):
    first = stored.add_message(stored.add_session("s1"), 1, sinks=("webhook",))
    stored.rows("UPDATE outbox_deliveries SET due_since = due_since - interval '71 hours'")
    shop.answer = 500

    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s1"])
        row = await failed(stored, first)

    assert row["dead_at"] is None
    assert row["next_attempt_at"] > clock.now()


async def test_webhooks_alone_are_enough(
    services: OpenServices, stored: Stored, shop: WebhookReceiver
):
    event_id = stored.add_message(stored.add_session("s1"), 1, sinks=("webhook",))

    async with services(**to(shop) | {"EVENT_SINKS": "webhook"}) as opened:
        await opened.relay.relay(["s1"])
        await delivered(stored)

    assert ids(shop) == [str(event_id)]


async def test_a_fault_of_ours_beside_the_task_gives_its_room_back(
    services: OpenServices, stored: Stored, shop: WebhookReceiver
):
    """Here the database refuses to have a failure noted."""
    sessions = [stored.add_session(f"s{number}") for number in range(IN_FLIGHT)]
    for session_id in sessions:
        stored.add_message(session_id, 1, sinks=("webhook",))
    stored.rows("ALTER TABLE outbox_deliveries ADD CONSTRAINT ours CHECK (last_error IS NULL)")
    shop.answer = 500

    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s0"])
        await eventually_beside(lambda: shop.received)
        stored.rows("ALTER TABLE outbox_deliveries DROP CONSTRAINT ours")
        shop.answer = 204
        shop.answering.clear()
        while len(shop.received) < 1 + IN_FLIGHT:
            stored.rows(
                "UPDATE outbox_deliveries SET next_attempt_at = now()"
                " WHERE session_id = 's0' AND attempts = 1"
            )
            await opened.relay.relay(sessions)
        shop.answering.set()
        await delivered(stored)


async def test_a_database_that_goes_away_between_two_deliveries_costs_only_time(
    services: OpenServices, stored: Stored, shop: WebhookReceiver
):
    stored.add_session("s1")
    both = [stored.add_message("s1", n, sinks=("webhook",)) for n in (1, 2)]
    shop.answering.clear()

    async with services(**to(shop)) as opened:
        await opened.relay.relay(["s1"])
        await eventually_beside(lambda: shop.received)
        # As before its migrations: claiming says that the database is away.
        stored.rows("ALTER TABLE webhook_endpoints RENAME TO elsewhere")
        shop.answering.set()
        await eventually_beside(lambda: stored.delivery(both[0], "webhook")["delivered_at"])
        stored.rows("ALTER TABLE elsewhere RENAME TO webhook_endpoints")
        await opened.relay.relay(["s1"])
        await delivered(stored)

    assert ids(shop) == [str(event_id) for event_id in both]
