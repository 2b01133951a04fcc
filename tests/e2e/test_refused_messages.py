"""What a shop sends ends in an effect on its session, or in one row of the refused messages."""

from __future__ import annotations

import json
import pickle
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kombu import Connection, Producer

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.task_events import TaskEvents

TRACK = "payment_sessions.track"


@pytest.fixture(scope="module")
def shop(
    shared_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    with deploy(shared_environment, tmp_path_factory.mktemp("deployment")) as deployed:
        deployed.start_all("worker", "beat")
        yield deployed


def publish(
    shop: Deployment,
    body: Any,  # noqa: ANN401 - anything may be sent
    *,
    task: str = TRACK,
    **options: Any,  # noqa: ANN401 - kombu's
) -> str:
    """Send a task message as another serializer, compression or client would."""
    task_id = str(uuid.uuid4())
    headers = {"task": task, "id": task_id, "lang": "py"} | options.pop("headers", {})
    with Connection(shop.environment["REDIS_URL"]) as connection:
        Producer(connection).publish(
            body, routing_key="payment-sessions", headers=headers, **options
        )
    return task_id


def new_session(klarna: SandboxClient, **options: Any) -> str:  # noqa: ANN401 - the sandbox's
    return str(klarna.create_session(**options)["session_id"])


def tracked(shop: Deployment, session_id: str) -> dict[str, Any]:
    """The stored session; waits for it."""
    return eventually(lambda: shop.session(session_id), because=f"{session_id} is tracked")


def test_a_foreign_serializer_is_kept_undecoded_and_shown_in_flower_as_failed(
    shop: Deployment, klarna: SandboxClient
):
    session_id = new_session(klarna)
    body = pickle.dumps([[session_id], {}, {}])
    with TaskEvents(shop.shop) as events:
        task_id = publish(
            shop, body, content_type="application/x-python-serialize", content_encoding="binary"
        )
        failure = events.end_of(task_id)

    kept = shop.refused(task_id)
    assert (kept["task"], kept["field"], kept["session_id"]) == (TRACK, "message", None)
    assert kept["reason"] == "cannot be decoded: ContentDisallowed"
    assert (kept["next_try_at"], kept["arguments"] is None) == (None, False)
    assert failure["type"] == "task-failed"
    assert shop.session(session_id) is None


@pytest.mark.parametrize(
    "body",
    [[["x"], [], {}], {"no": "arguments"}, [["x"], {}], 7],
    ids=["keyword arguments in a list", "no arguments", "two parts", "no list"],
)
def test_another_shape_with_a_readable_task_is_kept(
    shop: Deployment,
    body: Any,  # noqa: ANN401 - anything may be sent
):
    kept = shop.refused(publish(shop, json.dumps(body), content_type="application/json"))

    assert (kept["task"], kept["field"]) == (TRACK, "message")
    assert kept["reason"] == "is not a task message of Celery's"


def test_what_names_no_task_is_dropped_and_the_worker_goes_on(
    shop: Deployment, klarna: SandboxClient
):
    before = shop.query("SELECT count(*) FROM refused_messages")
    publish(shop, '"no task at all"', content_type="application/json", headers={"task": 7})
    session_id = new_session(klarna)
    shop.track(session_id)

    tracked(shop, session_id)
    eventually(lambda: "message_dropped" in shop.logs(), because="it is logged")
    assert shop.query("SELECT count(*) FROM refused_messages") == before
    assert "no task at all" not in shop.logs()


def test_redelivery_makes_no_second_row(shop: Deployment):
    task_id = str(uuid.uuid4())
    for _ in range(3):
        shop.shop.send_task(
            TRACK, args=["a/b"], queue="payment-sessions", task_id=task_id, kwargs={"kind": "x"}
        )
    last = shop.send(TRACK, "c/d")

    shop.refused(last)
    assert len(shop.query("SELECT * FROM refused_messages WHERE task_id = %s", task_id)) == 1


def test_an_expired_track_is_taken_all_the_same(shop: Deployment, klarna: SandboxClient):
    session_id = new_session(klarna)

    shop.shop.send_task(
        TRACK,
        args=[session_id],
        queue="payment-sessions",
        expires=datetime.now(UTC) - timedelta(hours=1),  # noqa: TID251 - a shop's own clock
    )

    tracked(shop, session_id)


def test_a_track_with_a_countdown_is_taken_at_once_and_polled_later(
    shop: Deployment, klarna: SandboxClient
):
    session_id = new_session(klarna)

    shop.shop.send_task(TRACK, args=[session_id], queue="payment-sessions", countdown=7200)

    row = tracked(shop, session_id)
    wait = row["next_poll_at"] - row["tracked_at"]
    assert wait == timedelta(minutes=40)
    assert (row["poll_count"], row["lease_id"]) == (0, None)


def test_an_id_that_is_a_uuid_or_a_number_is_taken_as_text(shop: Deployment, klarna: SandboxClient):
    session_id = new_session(klarna)

    shop.track(uuid.UUID(session_id), reference=4711)

    assert tracked(shop, session_id)["reference"] == "4711"


def test_a_task_id_may_be_a_uuid(shop: Deployment, klarna: SandboxClient):
    session_id = new_session(klarna)

    shop.shop.send_task(TRACK, args=[session_id], queue="payment-sessions", task_id=uuid.uuid4())

    tracked(shop, session_id)


def test_a_confirmation_just_before_its_track_holds(shop: Deployment, klarna: SandboxClient):
    session_ids = [new_session(klarna) for _ in range(30)]

    for session_id in session_ids:
        shop.send("payment_sessions.confirm_order", session_id, f"order-{session_id}")
        shop.track(session_id)

    for session_id in session_ids:
        shop.wait_for_confirmation(session_id, f"order-{session_id}")
