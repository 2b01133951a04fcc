"""`examples/django_shop`, run as its README says beside a whole deployment.

Each test has a checkout and Celery workers of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.flower import free_port
from tests.support.placed_orders import tries_to_order
from tests.support.processes import BIN, CeleryProcess, Program

EXAMPLE = Path(__file__).parents[2] / "examples" / "django_shop"
VISIBILITY_SECONDS = 2


class Shop:
    """The shop's web server, its Celery workers, and what a consumer sees of it.

    `folder` is where those that are started next write to.
    """

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        wanted = ("PATH", "REDIS_URL", "KLARNA_USERNAME", "KLARNA_PASSWORD", "KLARNA_BASE_URL")
        self._environment = {name: deployment.environment[name] for name in wanted} | {
            "DJANGO_SECRET_KEY": "made-up",
            "SHOP_DATABASE": str(folder / "shop.sqlite3"),
            "SHOP_VISIBILITY_TIMEOUT": str(VISIBILITY_SECONDS),
            "PYTHONUNBUFFERED": "1",
        }
        self.folder = folder
        self._port = free_port()
        self._page = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", trust_env=False)

    def manage(self, *arguments: str) -> str:
        """Run a command of `manage.py`; return its output."""
        command = [sys.executable, "manage.py", *arguments]
        ended = subprocess.run(
            command,
            cwd=EXAMPLE,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def worker(self, name: str) -> Program:
        """A Celery worker of the shop."""
        command = [BIN / "celery", "-A", "shop", "worker", "--loglevel", "DEBUG"]
        return self._program([*command, "--concurrency", "2"], " ready.", name)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Run the web server."""
        self.manage("migrate")
        address = f"127.0.0.1:{self._port}"
        command = [sys.executable, "manage.py", "runserver", "--noreload", address]
        with self._page, self._program(command, "Starting development server", "web"):
            eventually(self._answers, because="the shop answers")
            yield

    def check_out(self) -> dict[str, Any]:
        """Buy the hat."""
        answer = self._page.post("/checkout/")
        assert answer.status_code == 201, answer.text
        return answer.json()

    def wait_for(self, bought: dict[str, Any], state: str) -> dict[str, Any]:
        """Wait until the order is in that state."""
        return eventually(
            lambda: (order := self._order(bought))["state"] == state and order,
            within=30,
            because=f"the order is {state}",
        )

    def _order(self, bought: dict[str, Any]) -> dict[str, Any]:
        return self._page.get(f"/orders/{bought['reference']}/").raise_for_status().json()

    def _answers(self) -> bool:
        try:
            return self._page.get("/orders/none/").status_code == 404
        except httpx.TransportError:
            return False

    def _program(self, command: list[str | Path], ready: str, name: str) -> Program:
        return Program(
            command,
            ready=ready,
            cwd=EXAMPLE,
            env=self._environment,
            log_file=self.folder / f"{name}.log",
        )


@pytest.fixture(scope="module")
def deployment(
    shared_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    environment = shared_environment | {"EVENT_SINKS": "redis_stream,celery"}
    with deploy(environment, tmp_path_factory.mktemp("deployment")) as deployed:
        yield deployed


@pytest.fixture(scope="module")
def payment_worker(deployment: Deployment) -> CeleryProcess:
    """The worker that polls the shop's payment sessions, and a beat."""
    worker, _ = deployment.start_all("worker", "beat")
    return worker


@pytest.fixture(scope="module")
def open_shop(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(deployment, tmp_path_factory.mktemp("shop"))
    with made.open():
        yield made


@pytest.fixture
def shop(
    open_shop: Shop,
    payment_worker: CeleryProcess,  # noqa: ARG001 - it runs
    sandbox: SandboxClient,
    tmp_path: Path,
) -> Shop:
    """Every customer pays half a second after the checkout."""
    sandbox.set_default_script(steps=[[0.5, "COMPLETED"]], expires_in=600)
    open_shop.folder = tmp_path
    return open_shop


def test_a_checkout_becomes_one_order_however_often_its_event_comes(
    shop: Shop, deployment: Deployment, sandbox: SandboxClient
):
    with shop.worker("first") as worker:
        bought = shop.check_out()
        order = shop.wait_for(bought, "placed")
        (event,) = deployment.received_of(bought["session_id"])
        deployment.replay(bought["session_id"])
        tasks = [
            deployment.shop.send_task("payment_session.event", args=[event]).id for _ in range(3)
        ]
        eventually(lambda: all(f"[{task}] succeeded" in worker.log() for task in tasks))

    paid = sandbox.session(bought["session_id"])
    assert order["klarna_order_id"] == paid["order_id"]
    assert event["data"]["reference"] == bought["reference"]
    assert tries_to_order(sandbox, paid) == 1
    assert paid["orders"] == 1
    deployment.wait_for_confirmation(bought["session_id"], paid["order_id"])
    deployment.assert_invariants()


def test_a_worker_killed_while_klarna_answers_costs_no_second_order(
    shop: Shop, deployment: Deployment, sandbox: SandboxClient
):
    """The order is placed and the answer lost: the next worker learns that it was placed."""
    with shop.worker("first") as worker:
        bought = shop.check_out()
        sandbox.add_fault("hold", methods=["POST"])
        sandbox.wait_for_held(timeout_seconds=30)
        worker.kill()
    sandbox.clear_faults()
    sandbox.release()
    _wait_until_its_message_is_given_up(deployment)

    with shop.worker("second"):
        shop.wait_for(bought, "placed_id_unknown")

    assert sandbox.session(bought["session_id"])["orders"] == 1


def test_what_klarna_cannot_answer_now_is_tried_again_and_shows_no_token(
    shop: Shop, sandbox: SandboxClient
):
    with shop.worker("first") as worker:
        bought = shop.check_out()
        sandbox.add_fault("status", code=503, methods=["POST"], times=1)
        shop.wait_for(bought, "placed")

    paid = sandbox.session(bought["session_id"])
    assert tries_to_order(sandbox, paid) == 2
    assert paid["orders"] == 1
    assert "Klarna answered 503" in worker.log()
    assert paid["authorization_token"] not in worker.log()


def test_a_403_of_what_stands_before_klarna_is_not_taken_for_an_order(
    shop: Shop, sandbox: SandboxClient
):
    """As abuse protection responds, without an error object: nothing was placed."""
    with shop.worker("first"):
        bought = shop.check_out()
        sandbox.add_fault("status", code=403, body="abuse", methods=["POST"], times=1)
        shop.wait_for(bought, "placed")

    assert sandbox.session(bought["session_id"])["orders"] == 1


def test_no_event_is_lost_by_a_fault_that_nobody_thought_of(shop: Shop, sandbox: SandboxClient):
    """A task that fails is acknowledged. Here Klarna's answer to a placed order lacks its id."""
    with shop.worker("first") as worker:
        bought = shop.check_out()
        sandbox.add_fault("edit", omit=["order_id"], methods=["POST"], times=1)
        shop.wait_for(bought, "placed_id_unknown")

    assert sandbox.session(bought["session_id"])["orders"] == 1
    assert sandbox.session(bought["session_id"])["authorization_token"] not in worker.log()


def test_what_was_enqueued_and_lost_is_enqueued_again(
    shop: Shop, deployment: Deployment, payment_worker: CeleryProcess, sandbox: SandboxClient
):
    """Redis loses the message before a worker receives it."""
    payment_worker.stop()
    bought = shop.check_out()
    with redis.Redis.from_url(deployment.environment["REDIS_URL"]) as server:
        assert server.delete("payment-sessions") == 1
    deployment.start("worker")

    with shop.worker("first"):
        assert bought["session_id"] in shop.manage("track_open_orders")
        shop.wait_for(bought, "placed")

    assert sandbox.session(bought["session_id"])["orders"] == 1


def test_its_migrations_are_whole(shop: Shop):
    assert "No changes detected" in shop.manage("makemigrations", "--check", "--dry-run")


def _wait_until_its_message_is_given_up(deployment: Deployment) -> None:
    """Messages of a killed worker are delivered again after SHOP_VISIBILITY_TIMEOUT."""
    with redis.Redis.from_url(deployment.environment["REDIS_URL"]) as server:

        def given_up() -> bool:
            taken = server.zrange("unacked_index", 0, -1, withscores=True)
            return all(at < server.time()[0] - VISIBILITY_SECONDS for _, at in taken)

        assert server.zcard("unacked_index") == 1
        eventually(given_up)
