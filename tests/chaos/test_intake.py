"""Messages of shops, a third of them wrong in all known ways, and workers killed amid them.

Each message that names a task ends in an effect on its session or in one row of the refused
messages; one that is delivered again makes no second.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from devkit.sandbox.server import DEFAULT_PASSWORD, DEFAULT_USERNAME
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.experiment import Experiment
from tests.support.intake_messages import IntakeMessages
from tests.support.processes import CeleryProcess
from tests.support.rabbitmq import rabbitmq

UNACKED = "payment-sessions:unacked_index"
VISIBILITY_TIMEOUT_SECONDS = 60
READ_LIMIT = "2000"
# How many messages of a batch are taken when a worker is killed amid it.
SOME = 20
# What an older worker kept is tried again after as long as it has waited so far.
SETTLED_WITHIN_SECONDS = 150.0


@pytest.fixture
def deployment(
    request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path
) -> Iterator[Deployment]:
    """On the broker that the test names; Redis if it names none."""
    given = environment | {"KLARNA_READ_LIMIT": READ_LIMIT}
    with ExitStack() as stack:
        if getattr(request, "param", "redis") == "rabbitmq":
            given["BROKER_URL"] = stack.enter_context(rabbitmq(tmp_path)).url
        deployed = stack.enter_context(deploy(given, tmp_path))
        # What was sent is in the broker; Redis has no such option.
        deployed.shop.conf.broker_transport_options = {"confirm_publish": True}
        yield deployed


class Workers:
    """An older release's worker and a newer one's, which knows another account."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._nordic = {
            "KLARNA_ACCOUNTS__NORDIC__USERNAME": DEFAULT_USERNAME,
            "KLARNA_ACCOUNTS__NORDIC__PASSWORD": DEFAULT_PASSWORD,
            "KLARNA_ACCOUNTS__NORDIC__BASE_URL": experiment.deployment.environment[
                "KLARNA_BASE_URL"
            ],
            "KLARNA_ACCOUNTS__NORDIC__READ_LIMIT": READ_LIMIT,
        }

    def start_old(self) -> CeleryProcess:
        """Start the older release's."""
        (old,) = self._experiment.start("worker", arguments=self._own_name("old"))
        return old

    def start_new(self, role: str = "worker") -> CeleryProcess:
        """Start the newer release's."""
        arguments = self._own_name("new") if role == "worker" else ()
        (new,) = self._experiment.start(role, arguments=arguments, **self._nordic)
        return new

    @staticmethod
    def _own_name(name: str) -> tuple[str, str]:
        """On RabbitMQ, two workers of one machine need two names."""
        return ("-n", f"{name}@%h")

    def kill(self, *killed: CeleryProcess) -> None:
        """End them by SIGKILL."""
        for process in killed:
            self._experiment.processes.remove(process)
            process.kill()


def prepare(experiment: Experiment, count: int, tmp_path: Path) -> IntakeMessages:
    """Sessions that are paid at Klarna already, and the messages to be sent of them."""
    created = experiment.klarna.create_sessions([{"steps": [[0, "COMPLETED"]]}] * count)
    ids = [each["session_id"] for each in created]
    return IntakeMessages(experiment.deployment, ids, tmp_path / "unpickled")


@contextmanager
def nothing_stored(deployment: Deployment) -> Iterator[None]:
    """Until it ends, no worker can take a message in, or keep it."""
    with psycopg.connect(deployment.environment["DATABASE_URL"]) as connection:
        connection.execute("LOCK TABLE payment_sessions, refused_messages IN EXCLUSIVE MODE")
        yield


def holds_messages(worker: CeleryProcess) -> None:
    eventually(lambda: "_retrying" in worker.log(), because="the worker has messages in hand")


def deliver_again(deployment: Deployment) -> None:
    """What killed workers held, as if Redis' visibility timeout were over; RabbitMQ has none."""
    with redis.Redis.from_url(deployment.environment["REDIS_URL"]) as client:
        for message in client.zrange(UNACKED, 0, -1):
            client.zincrby(UNACKED, -VISIBILITY_TIMEOUT_SECONDS, message)


def judge(experiment: Experiment, messages: IntakeMessages, *, over_at: float) -> None:
    """Wait until each message has ended as it must, then until each session is finished."""
    eventually(lambda: not messages.unsettled(), within=SETTLED_WITHIN_SECONDS, because="all ended")
    for session_id in messages.delayed:
        experiment.deployment.track(session_id)
    experiment.expected = dict.fromkeys(messages.tracked, "completed")
    experiment.count_in_flight(len(messages.tracked))
    recovery = time.monotonic() - over_at  # noqa: TID251 - a recovery time is measured
    experiment.judge(recovery, target_seconds=SETTLED_WITHIN_SECONDS)
    # The second copies, too.
    eventually(lambda: not messages.waiting(), because="every message is taken")
    for process in experiment.processes:
        assert process.stop() == 0
    assert messages.waiting() == 0
    assert not messages.unsettled()


def test_a_worker_is_killed_amid_messages_of_which_a_third_are_wrong(
    experiment: Experiment, tmp_path: Path
):
    workers = Workers(experiment)
    messages = prepare(experiment, 150, tmp_path)
    old = workers.start_old()
    workers.start_new("beat")
    with nothing_stored(experiment.deployment):
        messages.send(150)
        holds_messages(old)
        workers.kill(old)
    deliver_again(experiment.deployment)
    workers.start_new()

    judge(experiment, messages, over_at=time.monotonic())  # noqa: TID251 - as above


@pytest.mark.slow
@pytest.mark.parametrize("deployment", ["redis", "rabbitmq"], indirect=True)
def test_workers_of_two_releases_are_killed_amid_messages_of_which_a_third_are_wrong(
    experiment: Experiment, tmp_path: Path
):
    workers = Workers(experiment)
    messages = prepare(experiment, 1000, tmp_path)
    workers.start_new("beat")
    old, new = workers.start_old(), workers.start_new()
    with nothing_stored(experiment.deployment):
        messages.send(400)
        holds_messages(old)
        workers.kill(old)

    old = workers.start_old()
    before = messages.settled()
    messages.send(300)
    eventually(lambda: messages.settled() > before + SOME, because="some are taken")
    workers.kill(new)

    new = workers.start_new()
    before = messages.settled()
    messages.send(300)
    eventually(lambda: messages.settled() > before + SOME, because="some are taken")
    workers.kill(old, new)
    deliver_again(experiment.deployment)
    workers.start_new()

    judge(experiment, messages, over_at=time.monotonic())  # noqa: TID251 - as above
