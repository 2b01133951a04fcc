"""Payment sessions from tracking to outcome, with beat and both sinks: the events at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import redis

from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME, SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually

SHOP_QUEUE = "shop-events"
SHOP_TASK = "shop.payment_session_event"


@dataclass(frozen=True)
class Life:
    """The statuses after WAITING (or `incomplete`), and the events at the end, in order."""

    statuses: tuple[str, ...]
    events: tuple[str, ...]
    script: dict[str, Any] = field(default_factory=dict)
    last_change: dict[str, Any] = field(default_factory=dict)


LIVES = {
    "paid at once": Life(("COMPLETED",), ("authorized",)),
    "paid after a look": Life(("IN_PROGRESS", "COMPLETED"), ("authorized",)),
    "declined, tries again": Life(
        ("IN_PROGRESS", "FAILED", "IN_PROGRESS", "COMPLETED"), ("authorized",)
    ),
    "goes back, returns": Life(
        ("IN_PROGRESS", "BACK", "IN_PROGRESS", "COMPLETED"), ("authorized",)
    ),
    "meets an error, tries again": Life(("ERROR", "IN_PROGRESS", "COMPLETED"), ("authorized",)),
    "shows an identity card": Life(("MANUAL_ID_CHECK", "COMPLETED"), ("authorized",)),
    "meets a status of tomorrow": Life(("UNHEARD_OF", "COMPLETED"), ("authorized",)),
    "order placed by Klarna": Life(
        ("COMPLETED",), ("order_placed",), {"place_order_mode": "PLACE_ORDER"}
    ),
    "order captured by Klarna": Life(
        ("IN_PROGRESS", "COMPLETED"), ("order_placed",), {"place_order_mode": "CAPTURE_ORDER"}
    ),
    "token and order": Life(
        ("COMPLETED",), ("authorized", "order_placed"), last_change={"carries": "both"}
    ),
    "cancelled": Life(("IN_PROGRESS", "CANCELLED"), ("cancelled",)),
    "disabled by the shop": Life(("IN_PROGRESS", "DISABLED"), ("disabled",)),
    "kp authorized": Life(("authorized",), ("authorized",), {"kind": "kp"}),
    "kp complete": Life(("complete",), ("completed",), {"kind": "kp"}),
}


@pytest.fixture(scope="module")
def deployed(
    shared_environment: dict[str, str],
    klarna: SandboxClient,  # noqa: ARG001 - as new
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    environment = shared_environment | {
        "POLL_MAX_INTERVAL_SECONDS": "0.3",
        "EVENT_SINKS": "redis_stream,celery",
        "CELERY_EVENT_TASK": SHOP_TASK,
        "CELERY_EVENT_QUEUE": SHOP_QUEUE,
    }
    with deploy(environment, tmp_path_factory.mktemp("deployment")) as deployed:
        deployed.start_all("worker", "beat")
        yield deployed


@pytest.fixture
def deployment(deployed: Deployment) -> Iterator[Deployment]:
    """The shared deployment; after each test all invariants must hold."""
    yield deployed
    deployed.assert_invariants()


def test_every_life_is_written_down_status_by_status_and_ends_in_its_events(
    deployment: Deployment, klarna: SandboxClient
):
    sessions = {
        name: klarna.create_session(**life.script)["session_id"] for name, life in LIVES.items()
    }
    for name, session_id in sessions.items():
        deployment.track(session_id, kind=LIVES[name].script.get("kind", "hpp"), reference=name)
    wanted = {
        name: ["incomplete" if life.script.get("kind") == "kp" else "WAITING"]
        for name, life in LIVES.items()
    }
    # In step: a status is set when every one before it was seen.
    for step in range(max(len(life.statuses) for life in LIVES.values()) + 1):
        eventually(
            lambda: {n: deployment.transitions(s) for n, s in sessions.items()} == wanted,
            because=f"step {step} of every life is seen",
        )
        for name, life in LIVES.items():
            if step < len(life.statuses):
                wanted[name].append(life.statuses[step])
                _change(klarna, sessions[name], life, step)

    deployment.wait_for_outcomes(*sessions.values())
    events = {
        name: tuple(
            event["type"].removeprefix("payment_session.")
            for event in deployment.received_of(session_id)
        )
        for name, session_id in sessions.items()
    }
    assert events == {name: life.events for name, life in LIVES.items()}


def test_a_session_expires_by_its_last_status_as_by_a_404(
    deployment: Deployment, klarna: SandboxClient
):
    created = {
        after: klarna.create_session(expires_in=4, after_expiry=after)
        for after in ("last_status", "not_found")
    }
    ids = [session["session_id"] for session in created.values()]
    for session_id in ids:
        deployment.track(session_id)

    assert deployment.wait_for_outcomes(*ids) == dict.fromkeys(ids, "expired")
    for session in created.values():
        assert deployment.transitions(session["session_id"]) == ["WAITING"]
        (event,) = deployment.received_of(session["session_id"])
        assert event["type"] == "payment_session.expired"
        assert event["time"][:22] == session["expires_at"][:22]


def test_both_sinks_get_the_same_events_and_nobody_takes_the_shops_tasks(
    deployment: Deployment, klarna: SandboxClient
):
    deployment.shop.send_task("shop.own_task", queue=SHOP_QUEUE)
    before = klarna.create_session(steps=[[0, "COMPLETED"]])["session_id"]
    deployment.track(before)
    deployment.wait_for_outcomes(before)
    deployment.received_of(before)

    _break_connections(deployment.environment["REDIS_URL"])
    after = klarna.create_session(steps=[[0, "COMPLETED"]])["session_id"]
    deployment.track(after)
    deployment.wait_for_outcomes(after)

    streamed = deployment.received_of(before) + deployment.received_of(after)
    queued = _take_all(deployment, SHOP_QUEUE)
    assert [name for name, _ in queued].count("shop.own_task") == 1
    events = [args[0] for name, args in queued if name == SHOP_TASK]
    # At least once: what a broken connection left in doubt may have come twice.
    received = {event["id"]: event for event in events if event["subject"] in {before, after}}
    assert list(received.values()) == streamed
    assert streamed[0]["data"]["authorization_token"]


def _change(klarna: SandboxClient, session_id: str, life: Life, step: int) -> None:
    status = life.statuses[step]
    if status == "DISABLED":
        url = f"{klarna.url}/hpp/v1/sessions/{session_id}"
        auth = (DEFAULT_USERNAME, DEFAULT_PASSWORD)
        assert httpx.delete(url, auth=auth, trust_env=False).status_code == 204
    else:
        is_last = step + 1 == len(life.statuses)
        klarna.set_status(session_id, status, **(life.last_change if is_last else {}))


def _break_connections(redis_url: str) -> None:
    """End every connection to this database of the server, as a failover would."""
    with redis.Redis.from_url(redis_url) as client:
        own = client.client_id()
        database = client.connection_pool.connection_kwargs.get("db", 0)
        for connection in client.client_list():
            if int(connection["db"]) == int(database) and int(connection["id"]) != own:
                client.client_kill_filter(_id=connection["id"])


def _take_all(deployment: Deployment, queue: str) -> list[tuple[str, list[Any]]]:
    """Consume the shop's queue as the shop would: name and arguments of each task."""
    taken = []
    with (
        deployment.shop.connection_for_read() as connection,
        connection.SimpleQueue(queue) as messages,
        suppress(messages.Empty),
    ):
        while message := messages.get_nowait():
            message.ack()
            taken.append((message.headers["task"], message.payload[0]))
    return taken
