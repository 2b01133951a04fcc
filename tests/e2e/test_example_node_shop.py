"""`examples/node_shop`, run as its README says beside a whole deployment with Flower.

Each test has a shop, a checkout and a Flower of its own.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.flower import free_port, start_flower
from tests.support.node_projects import NODE, ROOT, installed
from tests.support.placed_orders import tries_to_order
from tests.support.processes import Program

EXAMPLE = ROOT / "examples" / "node_shop"
LOGIN = "shop:a-made-up-password"
SECRET = "whsec_" + base64.b64encode(b"made up, and long enough for it.").decode()
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Shop:
    """The shop's process, and what a consumer and the worker see of it."""

    def __init__(self, deployment: Deployment, folder: Path, *, port: int, flower: int) -> None:
        wanted = ("KLARNA_USERNAME", "KLARNA_PASSWORD", "KLARNA_BASE_URL")
        given = {name: deployment.environment[name] for name in wanted}
        script = json.loads((EXAMPLE / "package.json").read_text())["scripts"]["start"]
        self.process = Program(
            [NODE, *script.split()[1:]],
            ready="the shop is open",
            cwd=EXAMPLE,
            env=given
            | {
                "PATH": os.environ["PATH"],
                "SHOP_PORT": str(port),
                "SHOP_DATABASE": str(folder / "shop.sqlite3"),
                "FLOWER_URL": f"http://127.0.0.1:{flower}",
                "FLOWER_BASIC_AUTH": LOGIN,
                "WEBHOOK_SECRET": SECRET,
                "TELL_AGAIN_SECONDS": "0.5",
            },
            log_file=folder / "shop.log",
        )
        self.page = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)

    def check_out(self) -> dict[str, Any]:
        """Buy the hat."""
        answer = self.page.post("/checkout")
        assert answer.status_code == 201, answer.text
        return answer.json()

    def order(self, bought: dict[str, Any]) -> dict[str, Any]:
        """The order as the shop has it."""
        return self.page.get(f"/orders/{bought['reference']}").raise_for_status().json()

    def wait_for(self, bought: dict[str, Any], **wanted: str) -> dict[str, Any]:
        """Wait until the order is as wanted."""
        return eventually(
            lambda: (order := self.order(bought)).items() >= wanted.items() and order,
            within=30,
            because=f"the order is {wanted}",
        )

    def post(
        self, event: dict[str, Any], *, secret: str = SECRET, at: datetime | None = None
    ) -> int:
        """Send a webhook; returns the status."""
        text = json.dumps(event)
        at = at or datetime.now(UTC)  # noqa: TID251 - a sender's clock
        headers = {
            "webhook-id": event["id"],
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(event["id"], at, text),
        }
        return self.page.post("/webhook", content=text, headers=headers).status_code


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    """The shop's, and Flower's."""
    return free_port(), free_port()


@pytest.fixture(scope="module")
def deployed(
    shared_environment: dict[str, str],
    ports: tuple[int, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    environment = shared_environment | {
        "EVENT_SINKS": "redis_stream,webhook",
        "WEBHOOK_URL": f"http://127.0.0.1:{ports[0]}/webhook",
        "WEBHOOK_SECRETS": SECRET,
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "FLOWER_BASIC_AUTH": LOGIN,
    }
    with deploy(environment, tmp_path_factory.mktemp("deployment")) as deployed:
        deployed.start_all("worker", "beat")
        yield deployed


@pytest.fixture
def shop(
    deployed: Deployment, ports: tuple[int, int], sandbox: SandboxClient, tmp_path: Path
) -> Iterator[Shop]:
    """Every customer pays half a second after the checkout."""
    installed(EXAMPLE)
    sandbox.set_default_script(steps=[[0.5, "COMPLETED"]], expires_in=600)
    made = Shop(deployed, tmp_path, port=ports[0], flower=ports[1])
    with made.process, made.page:
        yield made


@contextmanager
def _flower(deployment: Deployment, port: int, folder: Path) -> Iterator[None]:
    with start_flower(deployment.environment, port, folder / "flower.log"):
        yield


def test_a_checkout_becomes_one_order_however_often_its_event_comes(
    shop: Shop,
    deployed: Deployment,
    ports: tuple[int, int],
    sandbox: SandboxClient,
    tmp_path: Path,
):
    """Flower starts after the checkout: what could not be sent is sent again."""
    bought = shop.check_out()
    assert shop.order(bought)["sent"] == ""
    with _flower(deployed, ports[1], tmp_path):
        order = shop.wait_for(bought, state="placed", sent="confirmed")
        (event,) = deployed.received_of(bought["session_id"])
        assert [shop.post(event) for _ in range(3)] == [204, 204, 204]
        deployed.replay(bought["session_id"])

    paid = sandbox.session(bought["session_id"])
    assert order["order_id"] == paid["order_id"]
    assert tries_to_order(sandbox, paid) == 1
    assert paid["orders"] == 1
    assert paid["authorization_token"] not in shop.process.log()
    deployed.wait_for_confirmation(bought["session_id"], paid["order_id"])
    deployed.assert_invariants()


def test_a_shop_killed_while_klarna_answers_places_no_second_order(
    shop: Shop,
    deployed: Deployment,
    ports: tuple[int, int],
    sandbox: SandboxClient,
    tmp_path: Path,
):
    """The order is placed and the response lost: the webhook is sent again, and shows it."""
    with _flower(deployed, ports[1], tmp_path):
        bought = shop.check_out()
        sandbox.add_fault("hold", methods=["POST"])
        sandbox.wait_for_held(timeout_seconds=30)
        shop.process.kill()
        sandbox.clear_faults()
        sandbox.release()
        shop.process.start()
        shop.wait_for(bought, state="placed_id_unknown")

    assert sandbox.session(bought["session_id"])["orders"] == 1


def test_a_403_of_what_stands_before_klarna_is_not_taken_for_an_order(
    shop: Shop,
    deployed: Deployment,
    ports: tuple[int, int],
    sandbox: SandboxClient,
    tmp_path: Path,
):
    """As abuse protection responds, without an error object: the webhook is sent again."""
    with _flower(deployed, ports[1], tmp_path):
        bought = shop.check_out()
        sandbox.add_fault("status", code=403, body="abuse", methods=["POST"], times=1)
        shop.wait_for(bought, state="placed")

    assert sandbox.session(bought["session_id"])["orders"] == 1


def test_a_webhook_is_taken_with_its_signature_only(shop: Shop, sandbox: SandboxClient):
    """Nor is one that was recorded long ago and is played back."""
    bought = shop.check_out()
    paid = sandbox.session(bought["session_id"])
    event = {
        "id": "7b1c1a6e-95a0-5a7e-8d1d-8f1d1f7a5f11",
        "type": "payment_session.authorized",
        "data": {
            "session_id": bought["session_id"],
            "authorization_token": paid["authorization_token"],
        },
    }
    other = "whsec_" + base64.b64encode(b"another secret, as long as that.").decode()

    assert shop.post(event, secret=other) == 400
    assert shop.post(event, at=LONG_AGO) == 400

    assert shop.order(bought)["state"] == "pending"
    assert tries_to_order(sandbox, paid) == 0


def test_it_ends_cleanly(shop: Shop):
    assert shop.process.stop() == 0
