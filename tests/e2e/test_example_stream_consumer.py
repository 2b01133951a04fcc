"""`examples/stream_consumer.py`, run as it stands beside a whole deployment.

Each test has consumers, a shop database and a payment session of its own.
"""

from __future__ import annotations

import runpy
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.placed_orders import tries_to_order
from tests.support.processes import Program

EXAMPLE = Path(__file__).parents[2] / "examples" / "stream_consumer.py"
STREAM = "payment-session-events"
PAID = {"steps": [[0, "COMPLETED"]], "expires_in": 600}


class Shop:
    """Consumers of one shop, and what its database says."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self._deployment = deployment
        self._folder = folder
        self._database = folder / "shop.sqlite3"

    def consumer(self, name: str, *, stream: str = STREAM) -> Program:
        """A consumer; a dead one's entries are stale after a second."""
        wanted = ("PATH", "REDIS_URL", "KLARNA_USERNAME", "KLARNA_PASSWORD", "KLARNA_BASE_URL")
        given = {name: self._deployment.environment[name] for name in wanted}
        return Program(
            [sys.executable, EXAMPLE],
            ready="consuming",
            cwd=self._folder,
            env=given
            | {"CONSUMER": name, "STALE_SECONDS": "1", "SHOP_DATABASE": str(self._database)}
            | {"EVENT_STREAM": stream},
            log_file=self._folder / f"{name}.log",
        )

    def order(self, session_id: str) -> dict[str, Any] | None:
        """The shop's order of a payment session."""
        with closing(sqlite3.connect(self._database)) as database:
            database.row_factory = sqlite3.Row
            asked = "SELECT * FROM orders WHERE session_id = ?"
            row = database.execute(asked, (session_id,)).fetchone()
            return dict(row) if row else None

    def wait_for(self, session_id: str, state: str) -> dict[str, Any]:
        """Wait until the order is in that state."""
        return eventually(
            lambda: (order := self.order(session_id)) and order["state"] == state and order,
            within=30,
            because=f"the order is {state}",
        )


@pytest.fixture(scope="module")
def deployment(
    shared_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    with deploy(shared_environment, tmp_path_factory.mktemp("deployment")) as deployed:
        deployed.start_all("worker", "beat")
        yield deployed


@pytest.fixture
def shop(deployment: Deployment, tmp_path: Path) -> Shop:
    return Shop(deployment, tmp_path)


@pytest.fixture
def pending(deployment: Deployment) -> Callable[[], int]:
    """Return how many entries the shop has received and not acknowledged."""

    def count() -> int:
        with redis.Redis.from_url(deployment.environment["REDIS_URL"]) as server:
            return server.xpending(STREAM, "shop")["pending"]

    return count


@pytest.fixture
def all_read(deployment: Deployment) -> Callable[[], bool]:
    """Return whether the shop has received every entry of the stream."""

    def read() -> bool:
        with redis.Redis.from_url(deployment.environment["REDIS_URL"]) as server:
            groups = {group["name"]: group for group in server.xinfo_groups(STREAM)}
            return groups[b"shop"]["lag"] == 0

    return read


def test_a_paid_session_gets_one_order_however_often_its_event_comes(
    shop: Shop,
    deployment: Deployment,
    sandbox: SandboxClient,
    pending: Callable[[], int],
    all_read: Callable[[], bool],
):
    paid = sandbox.create_session(**PAID)
    with shop.consumer("first"), shop.consumer("second"):
        deployment.track(paid["session_id"], reference="order-1")
        order = shop.wait_for(paid["session_id"], "placed")
        deployment.replay(paid["session_id"])
        assert [event["subject"] for event in deployment.received()].count(paid["session_id"]) >= 2
        eventually(lambda: all_read() and pending() == 0, because="all is read and acknowledged")

    assert order["order_id"] == paid["order_id"]
    assert order["reference"] == "order-1"
    assert tries_to_order(sandbox, paid) == 1
    assert sandbox.session(paid["session_id"])["orders"] == 1
    deployment.wait_for_confirmation(paid["session_id"], order["order_id"])
    deployment.assert_invariants()


def test_a_consumer_killed_while_klarna_answers_costs_no_second_order(
    shop: Shop,
    deployment: Deployment,
    sandbox: SandboxClient,
    pending: Callable[[], int],
):
    """The order is placed and the answer lost: the next consumer learns that it was placed."""
    paid = sandbox.create_session(**PAID)
    sandbox.add_fault("hold", methods=["POST"])
    with shop.consumer("first") as first:
        deployment.track(paid["session_id"], reference="order-2")
        sandbox.wait_for_held(timeout_seconds=30)
        first.kill()
    sandbox.clear_faults()
    sandbox.release()

    with shop.consumer("second"):
        order = shop.wait_for(paid["session_id"], "placed_id_unknown")
        eventually(lambda: pending() == 0, because="everything is acknowledged")

    assert order["reference"] == "order-2"
    assert sandbox.session(paid["session_id"])["orders"] == 1


def test_what_klarna_cannot_answer_now_comes_again(
    shop: Shop, deployment: Deployment, sandbox: SandboxClient
):
    paid = sandbox.create_session(**PAID)
    sandbox.add_fault("status", code=503, methods=["POST"], times=1)
    with shop.consumer("first") as consumer:
        deployment.track(paid["session_id"], reference="order-3")
        order = shop.wait_for(paid["session_id"], "placed")

    assert "later: Klarna answered 503" in consumer.log()
    assert order["order_id"] == paid["order_id"]
    assert sandbox.session(paid["session_id"])["orders"] == 1


def test_a_403_of_what_stands_before_klarna_is_not_taken_for_an_order(
    shop: Shop, deployment: Deployment, sandbox: SandboxClient
):
    """As abuse protection responds, without an error object: nothing was placed."""
    paid = sandbox.create_session(**PAID)
    sandbox.add_fault("status", code=403, body="abuse", methods=["POST"], times=1)
    with shop.consumer("first"):
        deployment.track(paid["session_id"], reference="order-4")
        shop.wait_for(paid["session_id"], "placed")

    assert sandbox.session(paid["session_id"])["orders"] == 1


def test_a_refusal_of_the_first_try_is_no_order(
    shop: Shop, deployment: Deployment, sandbox: SandboxClient
):
    """An operator has to look; nothing is confirmed, so the warnings continue."""
    paid = sandbox.create_session(**PAID)
    sandbox.add_fault("status", code=403, methods=["POST"])
    with shop.consumer("first"):
        deployment.track(paid["session_id"], reference="order-5")
        order = shop.wait_for(paid["session_id"], "unclear")

    assert order["order_id"] is None
    assert sandbox.session(paid["session_id"])["orders"] == 0


def test_an_order_that_may_be_there_is_not_called_too_late(
    shop: Shop, deployment: Deployment, sandbox: SandboxClient
):
    """The response was lost, and at the second request the token has expired."""
    paid = sandbox.create_session(**PAID)
    sandbox.add_fault("hold", methods=["POST"])
    with shop.consumer("first") as first:
        deployment.track(paid["session_id"], reference="order-6")
        sandbox.wait_for_held(timeout_seconds=30)
        first.kill()
    sandbox.clear_faults()
    sandbox.release()
    sandbox.add_fault("status", code=404, methods=["POST"])

    with shop.consumer("second"):
        shop.wait_for(paid["session_id"], "unclear")


def test_an_entry_that_was_trimmed_while_it_was_pending_is_acknowledged(
    shop: Shop, deployment: Deployment, pending: Callable[[], int]
):
    with redis.Redis.from_url(deployment.environment["REDIS_URL"]) as server:
        with suppress(redis.ResponseError):
            server.xgroup_create(STREAM, "shop", id="0", mkstream=True)
        trimmed = server.xadd(STREAM, {"event": "{}"})
        while server.xreadgroup("shop", "dead", {STREAM: ">"}, count=1)[0][1][0][0] != trimmed:
            pass
        server.xdel(STREAM, trimmed)
    assert pending() > 0

    with shop.consumer("first") as consumer:
        eventually(lambda: pending() == 0, within=30, because="everything is acknowledged")

    assert "Traceback" not in consumer.log()


class TrimmedEntries:
    """A server whose pending entries were all trimmed, as redis-py shows them."""

    def __init__(self, *left: tuple[bytes | None, dict[bytes, bytes] | None]) -> None:
        self._left = list(left)

    def xautoclaim(self, *_: object, **__: object) -> list[Any]:
        """What was pending."""
        return [b"0-0", self._left]

    def xreadgroup(self, *_: object, **__: object) -> list[Any]:
        """One new entry."""
        return [[b"stream", [(b"2-0", {b"event": b"{}"})]]]


@pytest.mark.parametrize(
    ("left", "taken"),
    [
        ((b"1-0", {}), [(b"1-0", {})]),
        # Redis 6.2 says only that there was an entry. What is new must not wait for it.
        ((None, None), [(b"2-0", {b"event": b"{}"})]),
    ],
    ids=["empty", "without an id"],
)
def test_a_trimmed_entry_is_taken_if_it_can_be_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
    left: tuple[bytes | None, dict[bytes, bytes] | None],
    taken: list[Any],
):
    monkeypatch.setenv("KLARNA_USERNAME", "user")
    monkeypatch.setenv("KLARNA_PASSWORD", "password")
    example = runpy.run_path(str(EXAMPLE))

    assert example["Entries"](TrimmedEntries(left)).take() == taken


def test_it_starts_before_the_stream_is_there_and_ends_cleanly(shop: Shop):
    consumer = shop.consumer("first", stream="of-no-event-yet").start()

    assert consumer.stop() == 0
    assert "Traceback" not in consumer.log()


def test_no_consumer_shows_a_token(shop: Shop, deployment: Deployment, sandbox: SandboxClient):
    paid = sandbox.create_session(**PAID)
    sandbox.add_fault("reset", methods=["POST"], times=1)
    with shop.consumer("first") as consumer:
        deployment.track(paid["session_id"])
        shop.wait_for(paid["session_id"], "placed_id_unknown")

    assert paid["authorization_token"] not in consumer.log()
