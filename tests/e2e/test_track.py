"""What a shop's `track` does. No beat runs here: first polls, nudges and events need none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta, timezone
from typing import Any

import httpx
import pytest

from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME, SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.task_events import TaskEvents
from worker.adapters import clock

OTHER = {"username": "other-user", "password": "other-password"}
PAID = [[0, "COMPLETED"]]


@pytest.fixture(scope="module")
def worker_alone(
    shared_environment: dict[str, str],
    klarna: SandboxClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    klarna.put_account("other", **OTHER)
    environment = shared_environment | {
        "KLARNA_ACCOUNTS__OTHER__USERNAME": OTHER["username"],
        "KLARNA_ACCOUNTS__OTHER__PASSWORD": OTHER["password"],
        "KLARNA_ACCOUNTS__OTHER__BASE_URL": klarna.url,
        # Nothing here waits for a next poll; what comes at once must not be one.
        "POLL_MAX_INTERVAL_SECONDS": "2400",
    }
    with deploy(environment, tmp_path_factory.mktemp("deployment")) as deployed:
        deployed.start("worker")
        yield deployed


@pytest.fixture
def shop(worker_alone: Deployment) -> Iterator[Deployment]:
    """The shared deployment; after each test all invariants must hold."""
    yield worker_alone
    worker_alone.assert_invariants()


@pytest.fixture(scope="module")
def task_events(worker_alone: Deployment) -> Iterator[TaskEvents]:
    with TaskEvents(worker_alone.shop) as events:
        yield events


def stored(shop: Deployment, session_id: str) -> dict[str, Any]:
    session = shop.session(session_id)
    assert session is not None
    return session


def event_types(shop: Deployment, session_id: str) -> list[str]:
    return [event["type"] for event in shop.received_of(session_id)]


def test_the_id_alone_is_enough_and_waits_for_no_tick_of_beat(
    shop: Deployment, klarna: SandboxClient
):
    session_id = klarna.create_session(steps=PAID)["session_id"]

    shop.track(session_id)

    # The promise is 200 ms; what is asserted is that nothing here waits for a schedule.
    klarna.wait_for_requests(1, session_id=session_id)
    assert shop.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert event_types(shop, session_id) == ["payment_session.authorized"]
    session = stored(shop, session_id)
    assert (session["account"], session["kind"]) == ("default", "hpp")
    assert session["session_url"] == f"{klarna.url}/hpp/v1/sessions/{session_id}"


def test_every_argument_is_kept_and_repeated_in_the_event(shop: Deployment, klarna: SandboxClient):
    created = klarna.create_session(steps=PAID, account="other", omit=["expires_at"])
    session_id = created["session_id"]
    expires_at = (clock.now() + timedelta(hours=47)).replace(microsecond=0)

    shop.track(
        session_id,
        session_url=created["session_url"],
        expires_at=expires_at.astimezone(timezone(timedelta(hours=2))).isoformat(),
        account="Other",
        kind="hpp",
        reference="order-4711",
    )

    assert shop.wait_for_outcomes(session_id) == {session_id: "completed"}
    session = stored(shop, session_id)
    assert session["account"] == "other"
    assert session["session_url"] == created["session_url"]
    assert session["expires_at"] == expires_at
    (event,) = shop.received_of(session_id)
    assert event["data"]["account"] == "other"
    assert event["data"]["reference"] == "order-4711"
    assert event["data"]["expires_at"] == expires_at.isoformat().replace("+00:00", "Z")


def test_klarnas_create_answer_is_taken_as_it_came(shop: Deployment, klarna: SandboxClient):
    klarna.set_default_script(steps=PAID)
    answer = httpx.post(
        f"{klarna.url}/hpp/v1/sessions",
        auth=(DEFAULT_USERNAME, DEFAULT_PASSWORD),
        trust_env=False,
        json={
            "payment_session_url": f"{klarna.url}/payments/v1/sessions/of-this-purchase",
            "options": {"place_order_mode": "PLACE_ORDER"},
        },
    ).json()

    shop.send("payment_sessions.track_created", answer, reference="order-9")

    session_id = answer["session_id"]
    assert shop.wait_for_outcomes(session_id) == {session_id: "completed"}
    (event,) = shop.received_of(session_id)
    assert event["type"] == "payment_session.order_placed"
    assert event["data"]["reference"] == "order-9"
    assert stored(shop, session_id)["session_url"] == answer["session_url"]


def test_a_kp_session_is_read_at_its_own_address(shop: Deployment, klarna: SandboxClient):
    created = klarna.create_session(kind="kp", steps=[[0, "authorized"]])
    session_id = created["session_id"]

    shop.track(session_id, kind="kp")

    assert shop.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert [r["path"] for r in klarna.requests(session_id=session_id)] == [
        f"/payments/v1/sessions/{session_id}"
    ]
    (event,) = shop.received_of(session_id)
    assert event["type"] == "payment_session.authorized"
    assert event["data"]["authorization_token"] == created["authorization_token"]


def test_tracking_again_polls_now_however_far_the_next_poll_is(
    shop: Deployment, klarna: SandboxClient
):
    # A status that is hours old is read again after minutes.
    session_id = klarna.create_session(started_ago=7200)["session_id"]
    shop.track(session_id)
    eventually(lambda: shop.transitions(session_id) == ["WAITING"], because="it is read")
    (wait,) = shop.query(
        "SELECT extract(epoch FROM next_poll_at - clock_timestamp()) AS seconds"
        " FROM payment_sessions WHERE session_id = %s AND lease_id IS NULL",
        session_id,
    )
    assert wait["seconds"] > 60

    klarna.set_status(session_id, "COMPLETED")
    shop.track(session_id)

    assert shop.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert len(klarna.requests(session_id=session_id)) == 2


def test_a_nudge_during_a_poll_is_followed_by_a_second_poll_at_once(
    shop: Deployment, klarna: SandboxClient, task_events: TaskEvents
):
    session_id = klarna.create_session(started_ago=7200)["session_id"]
    klarna.add_fault("hold", session_id=session_id, times=1)
    shop.track(session_id)
    klarna.wait_for_held(1, session_id=session_id)

    # The reply under way was computed before this.
    klarna.set_status(session_id, "COMPLETED")
    nudge = shop.track(session_id)
    assert task_events.end_of(nudge)["type"] == "task-succeeded"
    assert len(klarna.requests(session_id=session_id)) == 1
    klarna.release(session_id=session_id)

    assert shop.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert shop.transitions(session_id) == ["WAITING", "COMPLETED"]
    assert len(klarna.requests(session_id=session_id)) == 2


def test_a_contradiction_fails_the_task_naming_the_argument_and_changes_nothing(
    shop: Deployment, klarna: SandboxClient, task_events: TaskEvents
):
    session_id = klarna.create_session(started_ago=7200)["session_id"]
    shop.track(session_id, reference="order-1")
    eventually(lambda: shop.transitions(session_id) == ["WAITING"], because="it is read")
    before = stored(shop, session_id)

    refused = task_events.end_of(shop.track(session_id, reference="order-2"))

    assert refused["type"] == "task-failed"
    assert "ConflictError('reference: " in refused["exception"]
    assert stored(shop, session_id) == before
    assert len(klarna.requests(session_id=session_id)) == 1


def test_a_completed_session_tracked_again_is_left_alone(
    shop: Deployment, klarna: SandboxClient, task_events: TaskEvents
):
    session_id = klarna.create_session(steps=PAID)["session_id"]
    shop.track(session_id)
    shop.wait_for_outcomes(session_id)
    before = stored(shop, session_id)

    again = task_events.end_of(shop.track(session_id, reference="too-late"))

    assert again["type"] == "task-succeeded"
    assert stored(shop, session_id) == before
    assert len(klarna.requests(session_id=session_id)) == 1
    assert event_types(shop, session_id) == ["payment_session.authorized"]


def test_an_expired_session_tracked_again_tells_late_truth_but_no_guess_twice(
    shop: Deployment, klarna: SandboxClient
):
    session_id = klarna.create_session(expires_in=-3600, started_ago=7200)["session_id"]
    shop.track(session_id)
    assert shop.wait_for_outcomes(session_id) == {session_id: "expired"}

    shop.track(session_id)
    klarna.wait_for_requests(2, session_id=session_id)
    assert shop.wait_for_outcomes(session_id) == {session_id: "expired"}
    assert event_types(shop, session_id) == ["payment_session.expired"]

    klarna.set_status(session_id, "COMPLETED")
    shop.track(session_id)
    klarna.wait_for_requests(3, session_id=session_id)
    assert shop.wait_for_outcomes(session_id) == {session_id: "completed"}
    assert event_types(shop, session_id) == [
        "payment_session.expired",
        "payment_session.authorized",
    ]
