"""A wrong message from a shop fails with an error that names the field, and shows nothing else.

Failures are read where an operator sees them: in the task events that Flower shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.task_events import TaskEvents

# No id could be written like this: ids are what may be shown.
CANARY = "canary=7c1d"
TRACK = "payment_sessions.track"
TRACK_CREATED = "payment_sessions.track_created"
CONFIRM = "payment_sessions.confirm_order"

# By name: the task, its arguments, and the field that its failure must name.
BAD: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], str]] = {
    "no id": (TRACK, (), {}, "session_id"),
    "an empty id": (TRACK, ("",), {}, "session_id"),
    "an id with a slash": (TRACK, (f"a/{CANARY}",), {}, "session_id"),
    "an id that is a number": (TRACK, (42,), {}, "session_id"),
    "an unknown account": (TRACK, ("bad-1",), {"account": CANARY}, "account"),
    "an unknown kind": (TRACK, ("bad-2",), {"kind": CANARY}, "kind"),
    "a time without a zone": (
        TRACK,
        ("bad-3",),
        {"expires_at": "2030-01-01T00:00:00"},
        "expires_at",
    ),
    "no time at all": (TRACK, ("bad-4",), {"expires_at": CANARY}, "expires_at"),
    "a reference that is none": (TRACK, ("bad-5",), {"reference": {"a": CANARY}}, "reference"),
    "an unknown argument": (TRACK, ("bad-6",), {"sesion_url": CANARY}, "sesion_url"),
    "one argument too many": (
        TRACK,
        ("bad-7", None, None, None, None, None, CANARY),
        {},
        "arguments",
    ),
    "a create response without an id": (TRACK_CREATED, ({"x": CANARY},), {}, "response"),
    "a create response that is none": (TRACK_CREATED, (CANARY,), {}, "response"),
    "no create response": (TRACK_CREATED, (), {}, "response"),
    "an unknown argument beside a response": (
        TRACK_CREATED,
        ({"session_id": "bad-8"},),
        {"kind": CANARY},
        "kind",
    ),
    "an order of no session": (CONFIRM, (None, CANARY), {}, "session_id"),
    "an order of a session that is not tracked": (CONFIRM, ("bad-9", CANARY), {}, "session_id"),
    "no order": (CONFIRM, ("bad-9",), {}, "order_id"),
    "an order that is none": (CONFIRM, ("bad-9",), {"order_id": [CANARY]}, "order_id"),
    "an unknown argument beside an order": (CONFIRM, ("bad-9", "o"), {"token": CANARY}, "token"),
}


@pytest.fixture(scope="module")
def worker_alone(
    shared_environment: dict[str, str],
    klarna: SandboxClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    with deploy(shared_environment, tmp_path_factory.mktemp("deployment")) as deployed:
        deployed.start("worker")
        # Something for the invariants to be checked on.
        paid = klarna.create_session(steps=[[0, "COMPLETED"]])["session_id"]
        deployed.track(paid)
        deployed.wait_for_outcomes(paid)
        yield deployed


@pytest.fixture(scope="module")
def task_events(worker_alone: Deployment) -> Iterator[TaskEvents]:
    with TaskEvents(worker_alone.shop) as events:
        yield events


@pytest.fixture
def shop(worker_alone: Deployment, klarna: SandboxClient) -> Iterator[Deployment]:
    """The shared deployment, in which a test here stores nothing and sends nothing."""
    sessions = worker_alone.query("SELECT * FROM payment_sessions")
    requests = klarna.counters()["requests"]
    yield worker_alone
    assert worker_alone.query("SELECT * FROM payment_sessions") == sessions
    assert klarna.counters()["requests"] == requests
    worker_alone.assert_invariants()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_argument_fails_the_task_naming_the_field(
    shop: Deployment, task_events: TaskEvents, name: str
):
    task, args, kwargs, field = BAD[name]

    failure = task_events.end_of(shop.send(task, *args, **kwargs))

    assert failure["type"] == "task-failed"
    assert failure["exception"].startswith(f"InvalidArgumentError('{field}: ")
    assert CANARY not in json.dumps(task_events.all())
    assert CANARY not in shop.logs()


# Each runs the task that its arguments name, or calls on a result backend.
OF_CELERY = [
    *("celery.starmap", "celery.map", "celery.chunks", "celery.group", "celery.chain"),
    *("celery.chord", "celery.accumulate", "celery.chord_unlock", "celery.backend_cleanup"),
]


@pytest.mark.parametrize("name", OF_CELERY)
def test_a_task_of_celerys_own_is_discarded_with_its_name_and_id(
    shop: Deployment, task_events: TaskEvents, name: str
):
    task_id = shop.send(name, {"task": TRACK}, [[f"{CANARY}/1"]])

    failure = task_events.end_of(task_id)

    assert failure["type"] == "task-failed"
    assert failure["exception"] == f"NotRegistered('{name}')"
    logged = [json.loads(line) for line in shop.logs().splitlines() if task_id in line]
    assert [(line["event"], line["task"]) for line in logged] == [("task_unknown", name)]
    assert CANARY not in json.dumps(task_events.all())
    assert CANARY not in shop.logs()


@pytest.mark.parametrize(
    "url",
    [
        # This one would reach the mock Klarna server if it were read.
        "{localhost}/hpp/v1/sessions/bad-url",
        "https://api.klarna.com/hpp/v1/sessions/bad-url",
        "{klarna}@evil.example/hpp/v1/sessions/bad-url",
        "{klarna}/hpp/v1/sessions/bad-url?x=1",
        "{klarna}/hpp/v1/sessions/bad-url#x",
        "{klarna}/hpp/v1/sessions/another",
        "{klarna}/hpp/../sessions/bad-url",
    ],
)
def test_a_session_url_that_credentials_must_not_be_sent_to_is_refused(
    shop: Deployment, klarna: SandboxClient, task_events: TaskEvents, url: str
):
    bad = url.format(klarna=klarna.url, localhost=klarna.url.replace("127.0.0.1", "localhost"))

    failure = task_events.end_of(shop.track("bad-url", session_url=bad))

    assert failure["type"] == "task-failed"
    assert failure["exception"].startswith("InvalidArgumentError('session_url: ")


def test_of_what_was_sent_events_and_logs_show_the_id_alone(
    worker_alone: Deployment, klarna: SandboxClient, task_events: TaskEvents
):
    created = klarna.create_session(steps=[[0, "COMPLETED"]], authorization_token=f"token-{CANARY}")
    session_id = created["session_id"]
    by_response = klarna.create_session(steps=[[0, "COMPLETED"]])
    response = by_response["response"] | {"redirect_url": f"https://pay.example/{CANARY}"}

    first = worker_alone.track(session_id, reference=f"reference {CANARY}")
    second = worker_alone.send(TRACK, session_id=session_id, session_url=f"{klarna.url}/{CANARY}")
    third = worker_alone.send(TRACK_CREATED, response, reference=f"reference {CANARY}")

    ends = [task_events.end_of(task)["type"] for task in (first, second, third)]
    assert ends == ["task-succeeded", "task-failed", "task-succeeded"]
    worker_alone.wait_for_outcomes(session_id, by_response["session_id"])
    worker_alone.assert_invariants()
    received = [e for e in task_events.all() if e["type"] == "task-received"]
    shown = {e["uuid"]: (e["args"], e["kwargs"]) for e in received}
    assert shown[first] == shown[second] == (f"('{session_id}')", "{}")
    assert shown[third] == (f"('{by_response['session_id']}')", "{}")
    assert CANARY not in json.dumps(task_events.all())
    assert CANARY not in worker_alone.logs()
