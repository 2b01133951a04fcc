"""Payments from Commerce Layer or Payway: polled at Klarna, their orders placed once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from devkit.sandbox.client_types import CreatedSession
from devkit.sandbox.server import SandboxClient
from tests.support.canaries import Canaries
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.shop_systems import commerce_layer_environment, payway_environment
from tests.support.task_events import TaskEvents
from tests.support.text_locations import database_locations, log_locations, redis_locations

# At the first read: when the next one comes is the polling policy's business.
PAID = [{"after": 0, "status": "authorized"}]
SYSTEMS = ["commerce_layer", "payway"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deployment")


@pytest.fixture(scope="module")
def deployed(
    shared_environment: dict[str, str], klarna: SandboxClient, folder: Path
) -> Iterator[Deployment]:
    sinks = {"EVENT_SINKS": ",".join(["redis_stream", *SYSTEMS])}
    systems = commerce_layer_environment(klarna.url) | payway_environment(klarna.url)
    with deploy(shared_environment | sinks | systems, folder) as running:
        running.start_all("worker", "beat")
        # Each test may be the only one here: there is an order to look at, and a session.
        wait_for_order(running, begin(klarna, running, "commerce_layer"))
        yield running


@pytest.fixture
def shop(deployed: Deployment, klarna: SandboxClient) -> Iterator[Deployment]:
    klarna.clear_faults()
    yield deployed
    deployed.assert_invariants()


@pytest.fixture(scope="module")
def task_events(deployed: Deployment) -> Iterator[TaskEvents]:
    with TaskEvents(deployed.shop) as events:
        yield events


def begin(klarna: SandboxClient, shop: Deployment, system: str) -> CreatedSession:
    """A checkout at a shop system, tracked by the system's response as it came."""
    session = klarna.create_session(kind="kp", steps=PAID)
    track(klarna, shop, system, session)
    return session


def track(
    klarna: SandboxClient, shop: Deployment, system: str, session: CreatedSession
) -> dict[str, Any]:
    if system == "commerce_layer":
        made = klarna.create_klarna_payment(session["session_id"])["resource"]
        shop.send("payment_sessions.track_klarna_payment", made, reference="order-1")
    else:
        made = klarna.create_purchase(session["session_id"])
        shop.send("payment_sessions.track_payway", response=made, reference="order-1")
    return made


def order_of(shop: Deployment, session: CreatedSession) -> str | None:
    """The order that was placed for the session and noted, or None."""
    stored = shop.session(session["session_id"])
    return stored["confirmed_order_id"] if stored else None


def wait_for_order(shop: Deployment, session: CreatedSession, *, within: float = 30) -> str:
    return eventually(
        lambda: order_of(shop, session), within=within, because="the order is placed and noted"
    )


def orders_at(klarna: SandboxClient, system: str) -> list[str | None]:
    """The ids of the orders placed there."""
    if system == "commerce_layer":
        return [o["order_id"] for o in klarna.orders() if o["status"] == "placed"]
    return [p["order_id"] for p in klarna.purchases() if p["order_id"]]


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_authorized_payment_becomes_one_order(
    shop: Deployment, klarna: SandboxClient, system: str
):
    """At the shop system, and at Klarna through it; the order is confirmed without the shop."""
    session = begin(klarna, shop, system)

    order_id = wait_for_order(shop, session)

    assert orders_at(klarna, system).count(order_id) == 1
    assert klarna.session(session["session_id"])["status"] == "complete"
    assert shop.session(session["session_id"])["kind"] == "kp"


def test_payway_gets_the_shops_reference(shop: Deployment, klarna: SandboxClient):
    order_id = wait_for_order(shop, begin(klarna, shop, "payway"))

    (purchase,) = [p for p in klarna.purchases() if p["order_id"] == order_id]
    assert purchase["merchant_reference"] == "order-1"


@pytest.mark.parametrize("system", SYSTEMS)
def test_redelivered_it_places_no_second_order(
    shop: Deployment, klarna: SandboxClient, system: str
):
    """As after a crash between placing the order and marking the delivery."""
    session = begin(klarna, shop, system)
    order_id = wait_for_order(shop, session)
    delivered = "delivered_at IS NOT NULL"
    eventually(lambda: deliveries(shop, session, system, delivered), because="it is delivered")

    shop.query(
        "UPDATE outbox_deliveries SET delivered_at = NULL, next_attempt_at = now()"
        " WHERE session_id = %s AND sink = %s",
        session["session_id"],
        system,
    )

    again = f"{delivered} AND attempts > 1"
    eventually(lambda: deliveries(shop, session, system, again), because="it is delivered again")
    assert orders_at(klarna, system).count(order_id) == 1


def deliveries(shop: Deployment, session: CreatedSession, system: str, condition: str) -> int:
    rows = shop.query(
        f"SELECT 1 FROM outbox_deliveries WHERE session_id = %s AND sink = %s AND {condition}",  # noqa: S608 - the test's own
        session["session_id"],
        system,
    )
    return len(rows)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_payment_tracked_after_it_was_authorized_is_not_lost(
    shop: Deployment, klarna: SandboxClient, system: str
):
    """Tracked by its id alone first: the order is placed once the shop names its shop system."""
    session = klarna.create_session(kind="kp", steps=PAID)
    shop.track(session["session_id"], kind="kp")
    shop.wait_for_outcomes(session["session_id"])
    assert order_of(shop, session) is None

    track(klarna, shop, system, session)

    wait_for_order(shop, session)


def test_other_payments_are_none_of_theirs(shop: Deployment, klarna: SandboxClient):
    """No delivery is pending, none is dead-lettered."""
    hosted = klarna.create_session(kind="hpp", steps=[[0, "COMPLETED"]])
    shop.track(hosted["session_id"])
    shop.wait_for_outcomes(hosted["session_id"])

    assert deliveries(shop, hosted, "commerce_layer", "true") == 0
    assert deliveries(shop, hosted, "payway", "true") == 0


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_that_is_away_is_waited_for(shop: Deployment, klarna: SandboxClient, system: str):
    session = klarna.create_session(kind="kp", steps=PAID)
    down = ["GET", "PATCH"] if system == "commerce_layer" else ["POST"]
    klarna.add_fault("status", account=system, methods=down, code=500)
    track(klarna, shop, system, session)
    failed = "last_error LIKE '%%HTTP 500%%'"
    eventually(lambda: deliveries(shop, session, system, failed), because="it failed once")

    klarna.clear_faults()

    wait_for_order(shop, session, within=60)


@pytest.mark.parametrize("system", SYSTEMS)
def test_tokens_are_nowhere_but_in_the_requests(
    shop: Deployment,
    klarna: SandboxClient,
    folder: Path,
    task_events: TaskEvents,
    system: str,
):
    """Neither the authorization token, except in the stream, nor the system's credentials."""
    session = begin(klarna, shop, system)
    wait_for_order(shop, session)
    shop.assert_invariants()

    canaries = Canaries()
    canaries.add("authorization token", session["authorization_token"])
    for number, token in enumerate(bearers(klarna, system)):
        canaries.add(f"access token {number}", token)
    canaries.add("client token", client_token(klarna, session))
    canaries.add("client secret", shop.environment["PAYWAY_CLIENT_SECRET"])
    assert canaries.named("access token")
    with redis.Redis.from_url(shop.environment["REDIS_URL"]) as server:
        locations = [
            *redis_locations(server),
            *database_locations(shop.environment["DATABASE_URL"]),
            *log_locations(folder),
            ("task events", repr(task_events.all())),
        ]
    found = {location: names for location, text in locations if (names := canaries.found_in(text))}
    assert found == {"Redis key payment-session-events": {"authorization token"}}


def bearers(klarna: SandboxClient, system: str) -> set[str]:
    """The access tokens that requests carried."""
    headers = [dict(request["headers"]) for request in klarna.requests(account=system)]
    sent = {header.get("authorization", "") for header in headers}
    return {value.removeprefix("Bearer ") for value in sent if value.startswith("Bearer ")}


def client_token(klarna: SandboxClient, session: CreatedSession) -> str:
    """Another purchase of the same session shows it again; its signature is the secret part."""
    item = klarna.create_purchase(session["session_id"])["item"]
    return str(item["klarna_client_token"]).rpartition(".")[2]


@pytest.mark.parametrize(
    ("task", "document", "fault"),
    [
        ("track_klarna_payment", {}, "resource: /data/type must be klarna_payments"),
        (
            "track_klarna_payment",
            {"data": {"type": "klarna_payments", "id": "a", "attributes": {}}},
            "resource: /data/attributes/session_id is missing",
        ),
        ("track_payway", [], "response: /item/klarna_payments_session_id is missing"),
        (
            "track_payway",
            {"item": {"klarna_payments_session_id": "a1", "klarna_client_token": "opaque"}},
            "does not tell Klarna's session id: pass session_id",
        ),
    ],
)
def test_a_malformed_document_names_its_member_and_changes_nothing(
    shop: Deployment, task_events: TaskEvents, task: str, document: object, fault: str
):
    before = shop.query("SELECT count(*) FROM payment_sessions")

    sent = shop.send(f"payment_sessions.{task}", document)

    failed = task_events.end_of(sent)
    assert fault in failed["exception"]
    assert shop.query("SELECT count(*) FROM payment_sessions") == before


def test_no_order_was_asked_for_twice(klarna: SandboxClient):
    """In all of these tests together; the checkout placed none."""
    assert {order["places"] for order in klarna.orders() if order["status"] == "placed"} == {1}
