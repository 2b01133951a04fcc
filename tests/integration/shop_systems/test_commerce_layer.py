"""Orders at Commerce Layer, for every answer it has; against the mock Klarna server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from config.settings import Settings, parse
from devkit.sandbox.client_types import CreatedSession
from devkit.sandbox.server import SandboxClient
from tests.support.deployment import environment_of
from tests.support.shop_systems import (
    asked,
    authorized_event,
    authorized_session,
    commerce_layer_environment,
)
from tests.support.stored import Stored
from worker.adapters.postgres.sessions.confirmations import PostgresConfirmations
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.adapters.postgres.sessions.shop_objects import PostgresSessionLookup
from worker.adapters.shop_systems.commerce_layer import CommerceLayerSink
from worker.adapters.shop_systems.documents import parse_klarna_payment
from worker.adapters.shop_systems.tracked_payments import TrackedPayments
from worker.bootstrap.shop_systems import commerce_layer
from worker.domain.deliveries import Refusal
from worker.domain.session import Kind
from worker.domain.tracking import TrackRequest
from worker.services.errors import DeliveryError
from worker.services.sessions import ClaimLimits

pytestmark = pytest.mark.anyio

NAME = "commerce_layer"
LIMITS = ClaimLimits(
    lease=timedelta(seconds=30), sessions_in_flight=10, tasks_in_flight=10, sessions_per_task=10
)


@dataclass(frozen=True)
class Purchase:
    """A paid session, its klarna payment's document, and its order."""

    session: CreatedSession
    resource: dict[str, Any]
    order_id: str

    @property
    def event(self) -> dict[str, Any]:
        """What its sink is given."""
        return authorized_event(self.session)

    @property
    def payment_path(self) -> str:
        """Where its klarna payment is."""
        return f"/api/klarna_payments/{self.resource['data']['id']}"


BuyWith = Callable[..., Awaitable[Purchase]]


@pytest.fixture
async def sink(
    database_url: str,
    redis_url: str,
    sandbox_url: str,
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[CommerceLayerSink]:
    environment = environment_of(database_url, redis_url, klarna_url=sandbox_url)
    for name, value in (environment | commerce_layer_environment(sandbox_url)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EVENT_SINKS", NAME)
    tracked_payments = TrackedPayments(
        PostgresSessionLookup(engine), PostgresConfirmations(engine, routes=())
    )
    async with AsyncExitStack() as stack:
        system = commerce_layer(stack, parse(Settings))
        yield CommerceLayerSink(system, tracked_payments, settle=timedelta(0))


@pytest.fixture
def buy(sandbox: SandboxClient, sessions: PostgresSessions) -> BuyWith:
    async def bought(*, linked: bool = True) -> Purchase:
        session = authorized_session(sandbox)
        made = sandbox.create_klarna_payment(session["session_id"], linked=linked)
        payment = parse_klarna_payment(made["resource"])
        request = TrackRequest(
            session_id=payment.session_id, kind=Kind.KP, shop_objects=payment.shop_objects
        )
        await sessions.track([request], lambda *_: session["session_url"], LIMITS)
        return Purchase(session, made["resource"], made["order_id"])

    return bought


def order(sandbox: SandboxClient) -> dict[str, Any]:
    """The one order there is."""
    (only,) = sandbox.orders()
    return only


async def refused(sink: CommerceLayerSink, event: dict[str, Any]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await sink.deliver(event)
    return caught.value


# --- placing


async def test_the_payment_gets_the_token_and_its_order_is_placed(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient, stored: Stored
):
    """Placed at Klarna, too: the mock Klarna server uses the token up. The order is noted here."""
    purchase = await buy()

    await sink.deliver(purchase.event)

    placed = order(sandbox)
    assert placed["status"] == "placed"
    assert placed["klarna_order_id"] == purchase.session["order_id"]
    assert sandbox.session(purchase.session["session_id"])["status"] == "complete"
    assert asked(sandbox, NAME) == [
        f"GET /api/orders/{purchase.order_id}",
        f"PATCH {purchase.payment_path}",
        f"PATCH /api/orders/{purchase.order_id}",
    ]
    row = stored.session(purchase.session["session_id"])
    assert row["confirmed_order_id"] == purchase.order_id


async def test_both_bodies_are_of_the_json_api_media_type(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    """Commerce Layer answers 406 and 415 to anything else; every request carries the token."""
    await sink.deliver((await buy()).event)

    for request in sandbox.requests(account=NAME):
        headers = dict(request["headers"])
        if request["path"] == "/oauth/token":
            continue
        assert headers["accept"] == "application/vnd.api+json"
        assert headers["authorization"].startswith("Bearer access-")
        if request["method"] == "PATCH":
            assert headers["content-type"] == "application/vnd.api+json"


async def test_the_order_is_found_through_its_payment_where_the_resource_does_not_name_it(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    """Commerce Layer links the order only where it was asked to include it."""
    purchase = await buy(linked=False)

    await sink.deliver(purchase.event)

    assert order(sandbox)["status"] == "placed"
    assert asked(sandbox, NAME)[0] == f"GET {purchase.payment_path}/order"


# --- idempotence


async def test_redelivered_it_places_nothing_again(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    event = (await buy()).event
    await sink.deliver(event)
    sandbox.clear_requests()

    await sink.deliver(event)

    assert order(sandbox)["places"] == 1
    assert [line.split()[0] for line in asked(sandbox, NAME)] == ["GET"]


async def test_after_a_crash_between_the_two_it_goes_on(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    """The token was handed over, the order not placed."""
    purchase = await buy()
    sandbox.add_fault("close", session_id=purchase.order_id, methods=["PATCH"], times=1)
    await refused(sink, purchase.event)

    await sink.deliver(purchase.event)

    assert order(sandbox)["status"] == "placed"


async def test_an_order_whose_answer_was_lost_is_found_placed(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    """The mock Klarna server places it, then closes the connection without a word."""
    purchase = await buy()
    sandbox.add_fault("close", session_id=purchase.order_id, methods=["PATCH"])

    error = await refused(sink, purchase.event)
    assert error.refusal is Refusal.RETRY
    await sink.deliver(purchase.event)

    assert order(sandbox)["places"] == 1


@pytest.mark.parametrize("status", ["placed", "approved", "editing"])
async def test_an_order_that_the_checkout_placed_is_left_alone(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient, stored: Stored, status: str
):
    purchase = await buy()
    sandbox.set_order_status(purchase.order_id, status)

    await sink.deliver(purchase.event)

    assert [line.split()[0] for line in asked(sandbox, NAME)] == ["GET"]
    row = stored.session(purchase.session["session_id"])
    assert row["confirmed_order_id"] == purchase.order_id


async def test_a_checkout_that_was_quicker_is_no_error(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    """It placed the order between our look and our request: what refused us was its success."""
    purchase = await buy()
    sandbox.add_fault(
        "exact",
        session_id=purchase.resource["data"]["id"],
        methods=["PATCH"],
        code=422,
        body='{"errors": [{"code": "VALIDATION_ERROR", "status": "422"}]}',
    )
    # The second look at the order finds it placed.
    placed = {"data": {"id": purchase.order_id, "attributes": {"status": "placed"}}}
    sandbox.add_fault("edit", session_id=purchase.order_id, skip=1, set=placed)

    await sink.deliver(purchase.event)

    assert order(sandbox)["places"] == 0


# --- refusals


async def test_an_order_that_is_not_right_is_given_up_with_what_was_said(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    purchase = await buy()
    said = (
        '{"errors": [{"title": "shipping_method can\'t be blank", "code": "VALIDATION_ERROR",'
        ' "source": {"pointer": "/data/attributes/shipping_method"}, "status": "422"}]}'
    )
    sandbox.add_fault("exact", session_id=purchase.order_id, methods=["PATCH"], code=422, body=said)

    error = await refused(sink, purchase.event)

    assert error.refusal is Refusal.PERMANENT
    assert "HTTP 422 VALIDATION_ERROR /data/attributes/shipping_method" in str(error)
    assert "replay this event" in str(error)


async def test_what_an_error_says_never_holds_the_token(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    purchase = await buy()
    token = purchase.session["authorization_token"]
    said = f'{{"errors": [{{"title": "{token} is invalid", "code": "VALIDATION_ERROR"}}]}}'
    sandbox.add_fault(
        "exact",
        session_id=purchase.resource["data"]["id"],
        methods=["PATCH"],
        code=422,
        body=said,
    )

    error = await refused(sink, purchase.event)

    assert "is invalid" in str(error)
    assert token not in repr(error) + str(error)


async def test_a_payment_that_is_not_there_is_given_up(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    """Such as one of another organization."""
    purchase = await buy()
    sandbox.add_fault(
        "exact", session_id=purchase.order_id, code=404, body='{"errors": [{"code": "X"}]}'
    )

    error = await refused(sink, purchase.event)

    assert error.refusal is Refusal.PERMANENT
    assert "COMMERCE_LAYER_BASE_URL" in str(error)


async def test_an_order_cancelled_before_it_was_placed_is_given_up(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    purchase = await buy()
    sandbox.set_order_status(purchase.order_id, "cancelled")

    error = await refused(sink, purchase.event)

    assert error.refusal is Refusal.PERMANENT
    assert "cancelled" in str(error)
    assert order(sandbox)["places"] == 0


async def test_an_order_that_is_being_placed_is_waited_for(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    """Commerce Layer's `place_async`."""
    purchase = await buy()
    sandbox.set_order_status(purchase.order_id, "placing")

    assert (await refused(sink, purchase.event)).refusal is Refusal.RETRY
    assert order(sandbox)["places"] == 0


async def test_without_its_token_an_order_is_given_up(sink: CommerceLayerSink, buy: BuyWith):
    purchase = await buy()

    error = await refused(sink, authorized_event(purchase.session, token=False))

    assert error.refusal is Refusal.PERMANENT
    assert "over" in str(error)


async def test_a_placed_order_needs_no_token(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    """What is redelivered after the hour finds that all is well."""
    purchase = await buy()
    sandbox.set_order_status(purchase.order_id, "placed")

    await sink.deliver(authorized_event(purchase.session, token=False))


async def test_a_token_that_klarna_refuses_is_reported(sink: CommerceLayerSink, buy: BuyWith):
    """It was used elsewhere, and this order is not placed."""
    purchase = await buy()
    event = purchase.event
    event["data"] = event["data"] | {"authorization_token": "of-another-session"}

    error = await refused(sink, event)

    assert error.refusal is Refusal.PERMANENT
    assert "payment_source was refused by Klarna" in str(error)


async def test_a_session_tracked_without_a_payment_is_none_of_its(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    purchase = await buy()
    event = purchase.event | {"subject": "somebody-elses"}

    assert (await refused(sink, event)).refusal is Refusal.PERMANENT
    assert asked(sandbox, NAME) == []


# --- access tokens


async def test_one_access_token_serves_many_orders(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    for _ in range(3):
        await sink.deliver((await buy()).event)

    assert sandbox.access_tokens(NAME) == 1


async def test_a_token_that_ran_out_early_is_renewed_once(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    await sink.deliver((await buy()).event)
    sandbox.revoke_access_tokens(NAME)

    await sink.deliver((await buy()).event)

    assert sandbox.access_tokens(NAME) == 2
    assert {placed["status"] for placed in sandbox.orders()} == {"placed"}


async def test_a_token_refused_again_makes_the_sink_wait(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    purchase = await buy()
    sandbox.add_fault("status", session_id=purchase.order_id, code=401)

    error = await refused(sink, purchase.event)

    assert error.refusal is Refusal.PAUSE
    assert error.asked is not None
    assert sandbox.access_tokens(NAME) == 2


async def test_refused_credentials_name_their_settings_and_are_not_tried_again_at_once(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    """The endpoint allows 30 requests a minute: waiting orders do not ask one by one."""
    purchase = await buy()
    refusal = '{"error": "invalid_client"}'
    sandbox.add_fault("exact", account=NAME, methods=["POST"], code=401, body=refusal)

    first, second = await refused(sink, purchase.event), await refused(sink, purchase.event)

    assert "COMMERCE_LAYER_CLIENT_ID" in str(first)
    assert (first.refusal, second.refusal) == (Refusal.PAUSE, Refusal.PAUSE)
    posts = [r for r in sandbox.requests(account=NAME) if r["path"] == "/oauth/token"]
    assert len(posts) == 1


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"access_token": ""}', '{"access_token": 5}', '{"access_token": "ä"}']
)
async def test_an_answer_without_a_token_is_no_token(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient, body: str
):
    purchase = await buy()
    sandbox.add_fault("exact", account=NAME, methods=["POST"], code=200, body=body)

    assert (await refused(sink, purchase.event)).refusal is Refusal.PAUSE


@pytest.mark.parametrize("code", [429, 503])
async def test_the_token_endpoint_makes_orders_wait_a_minute_at_most(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient, code: int
):
    purchase = await buy()
    sandbox.add_fault("status", account=NAME, methods=["POST"], code=code, retry_after="86400")

    first, second = await refused(sink, purchase.event), await refused(sink, purchase.event)

    assert first.asked == timedelta(minutes=1)
    assert second.asked is not None
    assert second.asked <= first.asked


async def test_a_life_that_no_clock_can_hold_is_a_long_one(
    sink: CommerceLayerSink, buy: BuyWith, sandbox: SandboxClient
):
    sandbox.add_fault("edit", account=NAME, methods=["POST"], set={"expires_in": 10**400})

    await sink.deliver((await buy()).event)

    assert order(sandbox)["places"] == 1


# --- what passes by itself


@pytest.mark.parametrize(
    ("fault", "refusal", "asked_seconds"),
    [
        ({"kind": "status", "code": 429, "retry_after": "7"}, Refusal.PAUSE, 7),
        ({"kind": "status", "code": 429}, Refusal.PAUSE, 10),
        ({"kind": "status", "code": 503, "retry_after": "9"}, Refusal.PAUSE, 9),
        ({"kind": "status", "code": 403}, Refusal.RETRY, 60),
        ({"kind": "status", "code": 500}, Refusal.RETRY, None),
        ({"kind": "status", "code": 502}, Refusal.RETRY, None),
        ({"kind": "status", "code": 423}, Refusal.RETRY, None),
        ({"kind": "redirect", "location": "http://127.0.0.1:1/"}, Refusal.RETRY, None),
        ({"kind": "reset"}, Refusal.RETRY, None),
        ({"kind": "close"}, Refusal.RETRY, None),
        ({"kind": "oversized"}, Refusal.RETRY, None),
        ({"kind": "empty_body"}, Refusal.RETRY, None),
        ({"kind": "invalid_json"}, Refusal.RETRY, None),
        ({"kind": "not_object"}, Refusal.RETRY, None),
        ({"kind": "edit", "set": {"data": 7}}, Refusal.RETRY, None),
        ({"kind": "edit", "set": {"data": {"attributes": []}}}, Refusal.RETRY, None),
        (
            {"kind": "edit", "set": {"data": {"id": "a\0", "attributes": {"status": "placed"}}}},
            Refusal.RETRY,
            None,
        ),
    ],
    ids=str,
)
async def test_whatever_else_it_answers_the_order_is_tried_again(
    sink: CommerceLayerSink,
    buy: BuyWith,
    sandbox: SandboxClient,
    fault: dict[str, Any],
    refusal: Refusal,
    asked_seconds: int | None,
):
    """And then placed, once."""
    purchase = await buy()
    sandbox.add_fault(session_id=purchase.order_id, **fault)

    error = await refused(sink, purchase.event)

    assert error.refusal is refusal
    assert error.asked == (timedelta(seconds=asked_seconds) if asked_seconds else None)
    sandbox.clear_faults()
    await sink.deliver(purchase.event)
    assert order(sandbox)["places"] == 1
