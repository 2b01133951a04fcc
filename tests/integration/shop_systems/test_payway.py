"""Orders at Payway, for every response and for none, at the mock Klarna server."""

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
from tests.support.klarna_reads import CREDENTIALS
from tests.support.shop_systems import (
    asked,
    authorized_event,
    authorized_session,
    payway_environment,
)
from tests.support.stored import Stored
from worker.adapters.klarna.client import HttpxKlarna
from worker.adapters.postgres.sessions.confirmations import PostgresConfirmations
from worker.adapters.postgres.sessions.repository import PostgresSessions
from worker.adapters.postgres.sessions.shop_objects import PostgresSessionLookup
from worker.adapters.shop_systems.documents import parse_purchase
from worker.adapters.shop_systems.payway import PaywaySink
from worker.adapters.shop_systems.tracked_payments import TrackedPayments
from worker.bootstrap.shop_systems import payway
from worker.domain.deliveries import Refusal
from worker.domain.session import Kind
from worker.domain.tracking import TrackRequest
from worker.services.errors import DeliveryError
from worker.services.sessions import ClaimLimits

pytestmark = pytest.mark.anyio

NAME = "payway"
PLACE = "POST /external/api/v1/klarna_payments/place_order"
# A fault's scope: not the request for the access token, which comes first.
ORDERS: Any = {"methods": ["POST"], "skip": 1}
LIMITS = ClaimLimits(
    lease=timedelta(seconds=30), sessions_in_flight=10, tasks_in_flight=10, sessions_per_task=10
)


@dataclass(frozen=True)
class Purchase:
    """A paid session and Payway's handle for it."""

    session: CreatedSession
    handle: str

    @property
    def event(self) -> dict[str, Any]:
        """What its sink is given."""
        return authorized_event(self.session)


Buy = Callable[..., Awaitable[Purchase]]


@pytest.fixture
async def sink(
    database_url: str,
    redis_url: str,
    sandbox_url: str,
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[PaywaySink]:
    environment = environment_of(database_url, redis_url, klarna_url=sandbox_url)
    for name, value in (environment | payway_environment(sandbox_url)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EVENT_SINKS", NAME)
    tracked_payments = TrackedPayments(
        PostgresSessionLookup(engine), PostgresConfirmations(engine, routes=())
    )
    klarna = HttpxKlarna(
        {"default": CREDENTIALS},
        allowed_origins={"default": [sandbox_url]},
        timeout=timedelta(seconds=5),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(klarna.aclose)
        system = payway(stack, parse(Settings))
        yield PaywaySink(system, tracked_payments, klarna, settle=timedelta(0))


@pytest.fixture
def buy(sandbox: SandboxClient, sessions: PostgresSessions) -> Buy:
    async def bought(reference: str | None = None) -> Purchase:
        session = authorized_session(sandbox)
        payment = parse_purchase(sandbox.create_purchase(session["session_id"]))
        assert payment.session_id == session["session_id"]
        request = TrackRequest(
            session_id=payment.session_id,
            kind=Kind.KP,
            reference=reference,
            shop_objects=payment.shop_objects,
        )
        await sessions.track([request], lambda *_: session["session_url"], LIMITS)
        handle = payment.shop_objects["payway"]["klarna_payments_session_id"]
        return Purchase(session, handle)

    return bought


async def refused(sink: PaywaySink, event: dict[str, Any]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await sink.deliver(event)
    return caught.value


def order(sandbox: SandboxClient) -> dict[str, Any]:
    """The one purchase there is."""
    (only,) = sandbox.purchases()
    return only


async def test_an_order_is_placed_with_token_handle_and_reference(
    sink: PaywaySink, buy: Buy, sandbox: SandboxClient, stored: Stored
):
    """At Klarna, too; the order is noted here."""
    purchase = await buy(reference="campaign-1")

    await sink.deliver(purchase.event)

    placed = order(sandbox)
    assert placed["order_id"]
    assert placed["merchant_reference"] == "campaign-1"
    assert sandbox.session(purchase.session["session_id"])["status"] == "complete"
    row = stored.session(purchase.session["session_id"])
    assert row["confirmed_order_id"] == placed["order_id"]


async def test_the_access_token_is_asked_for_with_a_form(
    sink: PaywaySink, buy: Buy, sandbox: SandboxClient
):
    """Grant and scope are those of the settings: the mock Klarna server refuses others."""
    for _ in range(2):
        await sink.deliver((await buy()).event)

    posts = [r for r in sandbox.requests(account=NAME) if r["path"].endswith("access_token")]
    assert [dict(post["headers"])["content-type"] for post in posts] == [
        "application/x-www-form-urlencoded"
    ]


async def test_redelivered_it_places_nothing_again(
    sink: PaywaySink, buy: Buy, sandbox: SandboxClient
):
    """Klarna says that the session is complete: Payway is not even asked."""
    event = (await buy()).event
    await sink.deliver(event)
    await sink.deliver(event)

    assert asked(sandbox, NAME) == [PLACE]


@pytest.mark.parametrize("fault", ["close", "reset", "truncated"])
async def test_an_order_whose_answer_was_lost_is_found_at_klarna(
    sink: PaywaySink, buy: Buy, sandbox: SandboxClient, fault: str
):
    """The mock Klarna server places it, and the response is lost; none is placed again."""
    purchase = await buy()
    sandbox.add_fault(fault, account=NAME, **ORDERS)

    error = await refused(sink, purchase.event)
    await sink.deliver(purchase.event)

    assert error.refusal is Refusal.RETRY
    assert asked(sandbox, NAME) == [PLACE]


@pytest.mark.parametrize("fault", ["empty_body", "invalid_json", "not_object"])
async def test_an_answer_that_tells_no_order_is_one_all_the_same(
    sink: PaywaySink, buy: Buy, sandbox: SandboxClient, stored: Stored, fault: str
):
    """What it holds is not documented; Payway's own handle stands for the order then."""
    purchase = await buy()
    sandbox.add_fault(fault, account=NAME, **ORDERS)

    await sink.deliver(purchase.event)

    row = stored.session(purchase.session["session_id"])
    assert row["confirmed_order_id"] == purchase.handle


async def test_what_klarna_does_not_tell_is_settled_by_the_token(
    sink: PaywaySink, buy: Buy, sandbox: SandboxClient
):
    """The order was placed, its answer lost, and Klarna does not answer: no second order comes."""
    purchase = await buy()
    sandbox.add_fault("close", account=NAME, **ORDERS, times=1)
    await refused(sink, purchase.event)
    sandbox.add_fault("status", session_id=purchase.session["session_id"], code=503)
    before = order(sandbox)["order_id"]

    error = await refused(sink, purchase.event)

    assert error.refusal is Refusal.RETRY
    assert "Klarna does not say" in str(error)
    assert order(sandbox)["order_id"] == before
    sandbox.clear_faults()
    await sink.deliver(purchase.event)


async def test_an_order_that_the_checkout_placed_is_left_alone(
    sink: PaywaySink, buy: Buy, sandbox: SandboxClient
):
    purchase = await buy()
    sandbox.set_status(purchase.session["session_id"], "complete")

    await sink.deliver(purchase.event)

    assert asked(sandbox, NAME) == []


async def test_a_refusal_is_given_up_with_its_message(
    sink: PaywaySink, buy: Buy, sandbox: SandboxClient
):
    purchase = await buy()
    body = '{"message": "Account update failed"}'
    sandbox.add_fault("exact", account=NAME, **ORDERS, code=400, body=body)

    error = await refused(sink, purchase.event)

    assert error.refusal is Refusal.PERMANENT
    assert "HTTP 400 Account update failed: " in str(error)


async def test_what_a_message_says_never_holds_the_token(
    sink: PaywaySink, buy: Buy, sandbox: SandboxClient
):
    purchase = await buy()
    token = purchase.session["authorization_token"]
    body = f'{{"message": "Wrong token {token}"}}'
    sandbox.add_fault("exact", account=NAME, **ORDERS, code=400, body=body)

    error = await refused(sink, purchase.event)

    assert "Wrong token" in str(error)
    assert token not in repr(error) + str(error)


async def test_without_its_token_an_order_is_given_up(sink: PaywaySink, buy: Buy):
    purchase = await buy()

    error = await refused(sink, authorized_event(purchase.session, token=False))

    assert error.refusal is Refusal.PERMANENT


async def test_a_session_tracked_without_a_purchase_is_none_of_its(sink: PaywaySink, buy: Buy):
    event = (await buy()).event | {"subject": "somebody-elses"}

    assert (await refused(sink, event)).refusal is Refusal.PERMANENT


async def test_an_access_token_that_ran_out_early_is_renewed_once(
    sink: PaywaySink, buy: Buy, sandbox: SandboxClient
):
    await sink.deliver((await buy()).event)
    sandbox.revoke_access_tokens(NAME)

    await sink.deliver((await buy()).event)

    assert sandbox.access_tokens(NAME) == 2
    assert all(purchase["order_id"] for purchase in sandbox.purchases())


async def test_refused_credentials_name_their_settings(
    sink: PaywaySink, buy: Buy, sandbox: SandboxClient
):
    purchase = await buy()
    sandbox.add_fault("status", account=NAME, methods=["POST"], code=401)

    error = await refused(sink, purchase.event)

    assert error.refusal is Refusal.PAUSE
    assert "PAYWAY_CLIENT_ID" in str(error)


@pytest.mark.parametrize(
    ("fault", "refusal", "asked_seconds"),
    [
        ({"kind": "status", "code": 429, "retry_after": "7"}, Refusal.PAUSE, 7),
        ({"kind": "status", "code": 403}, Refusal.RETRY, 60),
        ({"kind": "status", "code": 500}, Refusal.RETRY, None),
        ({"kind": "redirect", "location": "http://127.0.0.1:1/"}, Refusal.RETRY, None),
    ],
    ids=str,
)
async def test_what_passes_by_itself_is_tried_again(
    sink: PaywaySink,
    buy: Buy,
    sandbox: SandboxClient,
    fault: dict[str, Any],
    refusal: Refusal,
    asked_seconds: int | None,
):
    """And then placed."""
    purchase = await buy()
    sandbox.add_fault(account=NAME, **ORDERS, **fault)

    error = await refused(sink, purchase.event)

    assert error.refusal is refusal
    assert error.asked == (timedelta(seconds=asked_seconds) if asked_seconds else None)
    sandbox.clear_faults()
    await sink.deliver(purchase.event)
    assert order(sandbox)["order_id"]
