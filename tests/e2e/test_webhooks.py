"""Webhooks by real processes: from Klarna's response to a receiver that verifies; replay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.command import session_worker
from tests.support.deployment import Deployment, deployment
from tests.support.eventually import eventually
from tests.support.webhook_receiver import WebhookReceiver, a_secret, webhook_receiver

SECRET = a_secret()


@pytest.fixture
def shop() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as opened:
        yield opened


@pytest.fixture
def erp() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as opened:
        yield opened


@pytest.fixture
def deployed(
    environment: dict[str, str], tmp_path: Path, shop: WebhookReceiver, erp: WebhookReceiver
) -> Iterator[Deployment]:
    webhooks = {
        "EVENT_SINKS": "redis_stream,webhook",
        "WEBHOOK_URL": shop.url,
        "WEBHOOK_SECRETS": f"{a_secret()},{SECRET}",
        "WEBHOOK_ENDPOINTS__ERP__URL": erp.url,
        "WEBHOOK_ENDPOINTS__ERP__SECRETS": SECRET,
        "WEBHOOK_ENDPOINTS__ERP__EVENTS": "payment_session.order_placed",
        "WEBHOOK_ALLOW_PRIVATE": "true",
    }
    with deployment(environment | webhooks, tmp_path) as opened:
        opened.start_all("beat", "worker")
        yield opened


def types(receiver: WebhookReceiver) -> list[str]:
    return [request.verified(SECRET)["type"] for request in receiver.received]


def test_each_endpoint_gets_its_events_a_failing_one_again_and_all_of_them_by_replay(
    deployed: Deployment, sandbox: SandboxClient, shop: WebhookReceiver, erp: WebhookReceiver
):
    shop.answer = 500
    created = sandbox.create_session(
        steps=[[0, "COMPLETED"]], order_id="order-1", place_order_mode="PLACE_ORDER"
    )
    session_id = created["session_id"]
    deployed.track(session_id)
    deployed.wait_for_outcomes(session_id)
    eventually(lambda: erp.received, because="the endpoint that takes the type has its event")
    eventually(lambda: shop.received, because="the other was tried")

    shop.answer = 204
    eventually(lambda: len(shop.received) == 2, because="it is tried again")
    deployed.assert_invariants()
    first, second = shop.received
    assert first.verified(SECRET) == second.verified(SECRET)
    assert types(erp) == ["payment_session.order_placed"]

    ran = session_worker(
        deployed.environment, "events", "replay", "--session", session_id, "--yes", "--json"
    )
    assert ran.json()["replayed"] == 3
    eventually(lambda: len(erp.received) == 2, because="it comes again")
    eventually(lambda: len(shop.received) == 3, because="it comes again")
    assert {request.headers["webhook-id"] for request in (*shop.received, *erp.received)} == {
        shop.received[0].headers["webhook-id"]
    }
    assert shop.url not in deployed.logs()


def test_an_endpoint_that_is_gone_gets_what_waited_once_it_is_enabled(
    deployed: Deployment, sandbox: SandboxClient, shop: WebhookReceiver
):
    shop.answer = 410
    created = [sandbox.create_session(steps=[[0, "COMPLETED"]]) for _ in range(2)]
    session_ids = [each["session_id"] for each in created]
    deployed.track(session_ids[0])
    eventually(
        lambda: deployed.query("SELECT * FROM webhook_endpoints WHERE disabled_at IS NOT NULL"),
        because="the endpoint is disabled",
    )
    deployed.track(session_ids[1])
    deployed.wait_for_outcomes(*session_ids)
    asked = len(shop.received)
    health = session_worker(deployed.environment, "health")
    assert (health.code, "disabled (HTTP 410" in health.out) == (1, True)

    shop.answer = 204
    assert session_worker(deployed.environment, "events", "enable", "webhook").code == 0
    deployed.assert_invariants()

    came = {request.verified(SECRET)["subject"] for request in shop.received[asked:]}
    assert came == set(session_ids)
    tokens = {r.verified(SECRET)["data"]["authorization_token"] for r in shop.received}
    assert len(tokens) == len(session_ids)
    assert not [token for token in tokens if token in deployed.logs()]
