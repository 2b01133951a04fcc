"""The Celery tasks as a broker, a monitor and an operator see them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import kombu.transport
import pytest
from celery import Celery
from celery.beat import Scheduler
from celery.exceptions import Reject
from celery.worker.request import Request

from config.settings import Settings, parse
from devkit.sandbox.server import SandboxClient
from tests.support.databases import Databases
from tests.support.processes import BIN, NO_ENV_FILE
from tests.support.queues import polls, taken
from tests.support.stored import Stored
from worker.bootstrap.worker import open_worker
from worker.celery_app import intake
from worker.celery_app.redaction import RedactedRequest
from worker.celery_app.redis_transport import Channel
from worker.celery_app.runtime import Runtime
from worker.contract.tasks import TASKS
from worker.domain.errors import InvalidArgumentError

CANARY = "canary-secret"
QUEUES = {
    "payment_sessions.track": "payment-sessions",
    "payment_sessions.track_created": "payment-sessions",
    "payment_sessions.track_klarna_payment": "payment-sessions",
    "payment_sessions.track_payway": "payment-sessions",
    "payment_sessions.confirm_order": "payment-sessions",
    "payment_sessions.poll": "payment-sessions-polls",
    "payment_sessions.relay": "payment-sessions-events",
    "payment_sessions.purge": "payment-sessions",
    "payment_sessions.keep_refused": "payment-sessions",
    "payment_sessions.retry_refused": "payment-sessions-events",
}
ACKED_LATE = {
    "payment_sessions.track",
    "payment_sessions.track_created",
    "payment_sessions.track_klarna_payment",
    "payment_sessions.track_payway",
    "payment_sessions.confirm_order",
    "payment_sessions.keep_refused",
}


@pytest.fixture
def app(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Celery:
    """The worker's own app, on this test's broker."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    from worker import tasks  # noqa: PLC0415 - Celery reads the environment when it is imported
    from worker.celery import app as own  # noqa: PLC0415 - it reads the environment, too

    monkeypatch.setattr(own.conf, "broker_url", environment["REDIS_URL"])
    own.loader.import_default_modules()
    assert tasks.app is own
    return own


@pytest.fixture
def runtime(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """The runtime that the tasks find, started as the worker's boot starts it."""
    from worker import tasks  # noqa: PLC0415 - after the environment

    started = Runtime()
    monkeypatch.setattr(tasks, "runtime", started)
    started.start(open_worker(parse(Settings), app, take_in_again=intake.take_in_again))
    yield started
    started.close()


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_redis_brokers_use_the_transport_that_keeps_its_client(
    app: Celery, scheme: str, monkeypatch: pytest.MonkeyPatch
):
    # Other tests of this process may have filled it before the worker's app was imported.
    monkeypatch.setattr(kombu.transport, "_transport_cache", {})
    with app.connection_for_write(f"{scheme}://:secret@broker.test/0") as connection:
        assert connection.transport.Channel is Channel
        assert bool(connection.ssl) == (scheme == "rediss")
        assert connection.as_uri() == f"{scheme}://:**@broker.test:6379/0"


# --- names, queues, acknowledgement


def test_every_task_has_the_name_and_the_queue_that_others_rely_on(app: Celery):
    assert set(app.tasks) == set(QUEUES), "none of Celery's own: they run what a sender names"
    routed = {name: app.amqp.router.route({}, name)["queue"].name for name in app.tasks}
    assert routed == QUEUES
    assert set(app.amqp.queues) == set(QUEUES.values())


def test_only_the_shops_messages_are_acknowledged_late(app: Celery):
    assert {name for name in QUEUES if app.tasks[name].acks_late} == ACKED_LATE


def test_the_tasks_that_shops_may_send_are_published():
    assert {model.task for model in TASKS} == ACKED_LATE - {"payment_sessions.keep_refused"}


def test_the_app_can_be_imported_and_shown_with_nothing_but_a_broker(redis_url: str):
    report = subprocess.run(
        [BIN / "celery", "-A", "worker", "report"],
        env={**NO_ENV_FILE, "PATH": os.environ["PATH"], "REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert report.returncode == 0, report.stderr
    assert "payment-sessions-polls" in report.stdout
    assert redis_url.partition("@")[0].rpartition(":")[2] not in report.stdout


def test_without_a_broker_the_app_says_what_is_missing():
    report = subprocess.run(
        [BIN / "celery", "-A", "worker", "report"],
        env={**NO_ENV_FILE, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert report.returncode == 2
    assert "REDIS_URL: is missing" in report.stderr
    assert "Traceback" not in report.stderr


def test_beat_sends_nothing_but_ours(app: Celery):
    """Without `result_expires = None` it would send Celery's `celery.backend_cleanup` daily."""
    scheduler = Scheduler(app=app)

    assert {entry.task for entry in scheduler.schedule.values()} == {"payment_sessions.purge"}


# --- what a received task shows of itself


def received(app: Celery, redis_url: str, task: str, **message: object) -> Request:
    """The request that a worker makes of the message that a shop sent."""
    with Celery("shop", broker=redis_url, set_as_current=False) as shop:
        shop.send_task(task, queue=QUEUES[task], **message)
    (sent,) = taken(redis_url, QUEUES[task])
    return app.tasks[task].Request(sent, app=app, task=app.tasks[task])


def test_every_task_is_received_redacted(app: Celery):
    """Whatever its own module says: it comes with the app's class of tasks."""

    @app.task(name="payment_sessions.another")
    def another() -> None:
        """Do nothing."""

    requests = {task.Request for task in app.tasks.values()}
    app.tasks.unregister(another)

    assert requests == {RedactedRequest}


@pytest.mark.parametrize(
    ("task", "message", "shown"),
    [
        ("payment_sessions.track", {"args": ["s1", f"https://x/{CANARY}"]}, "('s1')"),
        ("payment_sessions.track", {"args": ["s1"], "argsrepr": CANARY}, "('s1')"),
        ("payment_sessions.track", {"args": ["s1"], "kwargsrepr": CANARY}, "('s1')"),
        (
            "payment_sessions.track",
            {"kwargs": {"session_id": "s1", "reference": CANARY}},
            "('s1')",
        ),
        ("payment_sessions.track", {"args": [f"not an id: {CANARY}"]}, "(?)"),
        ("payment_sessions.track", {"args": [[CANARY, {"x": CANARY + "/"}]]}, None),
        ("payment_sessions.track", {"kwargs": {"token": CANARY}}, "(?)"),
        (
            "payment_sessions.track_created",
            {"args": [{"session_id": "s1", "qr_code_url": CANARY}]},
            "('s1')",
        ),
        (
            "payment_sessions.track_created",
            {"kwargs": {"response": {"session_id": "s1", "client_token": CANARY}}},
            "('s1')",
        ),
        ("payment_sessions.poll", {"args": [["s1", "s2"], str(uuid4())]}, "('s1', 's2')"),
        ("payment_sessions.relay", {"args": [["s1"]]}, "('s1')"),
        ("payment_sessions.purge", {}, "(?)"),
    ],
    ids=[
        "args",
        "a false argsrepr",
        "a false kwargsrepr",
        "kwargs",
        "no id",
        "ids and what is none",
        "unknown argument",
        "created",
        "created by name",
        "poll",
        "relay",
        "purge",
    ],
)
def test_a_received_task_shows_ids_and_nothing_else(
    app: Celery, redis_url: str, task: str, message: dict[str, Any], shown: str | None
):
    request = received(app, redis_url, task, **message)

    shown_of_it = f"{request!r} {request} {request.info()} {request.humaninfo()}"
    if shown is None:
        assert request.argsrepr == f"('{CANARY}', ?)"
    else:
        assert request.argsrepr == shown
        assert CANARY not in shown_of_it
    assert request.kwargsrepr == "{}"
    # What Celery logs of a task that ends.
    logged = (request.request_dict["argsrepr"], request.request_dict["kwargsrepr"])
    assert logged == (request.argsrepr, request.kwargsrepr)


# --- the bodies


def test_a_task_outside_a_worker_says_so(app: Celery):
    with pytest.raises(Reject, match="the runtime is not started"):
        app.tasks["payment_sessions.track"]("s1")
    with pytest.raises(RuntimeError, match="the runtime is not started"):
        Runtime().call(print)


def test_a_session_is_tracked_from_its_track_to_its_event(
    app: Celery,
    runtime: Runtime,
    sandbox: SandboxClient,
    database_url: str,
    redis_url: str,
):
    created = sandbox.create_session(steps=[[0, "COMPLETED"]])

    app.tasks["payment_sessions.track_created"](created["response"], reference="order-1")
    for session_ids, lease_id in polls(redis_url):
        app.tasks["payment_sessions.poll"](session_ids, str(lease_id))
    app.tasks["payment_sessions.relay"]([created["session_id"]])
    app.tasks["payment_sessions.purge"]()

    stored = Stored(database_url)
    row = stored.session(created["session_id"])
    undelivered = stored.rows("SELECT * FROM outbox_deliveries WHERE delivered_at IS NULL")
    stored.close()
    assert (row["outcome"], row["reference"], row["kind"]) == ("completed", "order-1", "hpp")
    assert row["session_url"] == created["session_url"]
    assert undelivered == []
    runtime.close()
    runtime.close()


@pytest.mark.parametrize(
    ("task", "args", "kwargs", "field"),
    [
        ("payment_sessions.track", [], {}, "session_id"),
        ("payment_sessions.track", ["s1"], {"referense": "x"}, "referense"),
        ("payment_sessions.track", ["s1", None, None, None, None, None, "x"], {}, "arguments"),
        ("payment_sessions.track_created", ["s1"], {}, "response"),
        ("payment_sessions.track_created", [{"session_url": "x"}], {}, "response"),
        ("payment_sessions.track_created", [{"session_id": "s1"}], {"kind": "kp"}, "kind"),
        ("payment_sessions.track_created", [{"session_id": "s/1"}], {}, "session_id"),
    ],
    ids=[
        "no id",
        "a mistyped argument",
        "too many",
        "no response of Klarna's",
        "a response without id",
        "an argument of the other task",
        "a bad id in the response",
    ],
)
@pytest.mark.usefixtures("runtime")
def test_a_bad_argument_is_named(
    app: Celery, task: str, args: list[Any], kwargs: dict[str, Any], field: str
):
    with pytest.raises(InvalidArgumentError) as raised:
        app.tasks[task](*args, **kwargs)

    assert raised.value.field == field


def test_a_track_that_finds_no_database_goes_back_to_its_queue(
    app: Celery,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
):
    from worker import tasks  # noqa: PLC0415 - after the environment

    empty = databases.create_empty()
    monkeypatch.setenv("DATABASE_URL", empty)
    started = Runtime()
    monkeypatch.setattr(tasks, "runtime", started)
    started.start(open_worker(parse(Settings), app, take_in_again=intake.take_in_again))
    started.services.stop()

    with pytest.raises(Reject) as raised:
        app.tasks["payment_sessions.track"]("s1")

    assert raised.value.requeue is True
    assert "is the database migrated?" in str(raised.value.reason)
    started.close()
    databases.drop(empty)
