"""A shop's Celery app has settings of its own: it is heard, or `check` says what to change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

from devkit.sandbox.server import SandboxClient
from tests.support.command import session_worker
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually

TRACK = "payment_sessions.track"


@pytest.fixture(scope="module")
def worker_alone(
    shared_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    with deploy(shared_environment, tmp_path_factory.mktemp("deployment")) as deployed:
        deployed.start("worker")
        yield deployed


def shop_with(deployment: Deployment, **transport_options: object) -> Celery:
    shop = Celery("shop", broker=deployment.environment["REDIS_URL"], set_as_current=False)
    shop.conf.broker_transport_options = transport_options
    return shop


def paid(klarna: SandboxClient) -> str:
    return str(klarna.create_session(steps=[[0, "COMPLETED"]])["session_id"])


def test_every_priority_step_is_read(worker_alone: Deployment, klarna: SandboxClient):
    ids = [paid(klarna) for _ in range(10)]

    with shop_with(worker_alone, priority_steps=list(range(10))) as shop:
        for priority, session_id in enumerate(ids):
            shop.send_task(TRACK, [session_id], queue="payment-sessions", priority=priority)

    assert set(worker_alone.wait_for_outcomes(*ids).values()) == {"completed"}


def test_a_list_that_no_worker_reads_is_named_by_check(
    worker_alone: Deployment, klarna: SandboxClient
):
    read, unread = paid(klarna), paid(klarna)
    with shop_with(worker_alone, sep=":") as shop:
        shop.send_task(TRACK, [read], queue="payment-sessions")
        shop.send_task(TRACK, [unread], queue="payment-sessions", priority=3)
    worker_alone.wait_for_outcomes(read)

    checked = session_worker(worker_alone.environment, "check")

    assert checked.code == 1
    said = (
        "1 message waits in the list 'payment-sessions:3', which no worker reads: in the shop's"
        " app, remove `sep` (':') from broker_transport_options"
    )
    assert said in " ".join(checked.out.split()), checked.out


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bzip2", "lzma", "zstd"])
def test_a_compressed_message_is_taken(
    worker_alone: Deployment, klarna: SandboxClient, compression: str
):
    session_id = paid(klarna)

    worker_alone.shop.send_task(
        TRACK, [session_id], queue="payment-sessions", compression=compression
    )

    assert worker_alone.wait_for_outcomes(session_id) == {session_id: "completed"}


@pytest.mark.parametrize("compression", ["zlib", "bzip2", "lzma", "zstd"])
def test_a_message_that_unpacks_to_more_than_1_mib_is_refused(
    worker_alone: Deployment, klarna: SandboxClient, compression: str
):
    session_id, next_id = paid(klarna), paid(klarna)

    sent = worker_alone.shop.send_task(
        TRACK,
        [session_id],
        {"reference": "0" * 2 * 1024 * 1024},
        queue="payment-sessions",
        compression=compression,
    )
    (refused,) = eventually(
        lambda: worker_alone.query(
            "SELECT task, reason FROM refused_messages WHERE task_id = %s", sent.id
        ),
        because="the message is kept as refused",
    )

    assert refused == {"task": TRACK, "reason": "cannot be decoded: UnpackError"}
    worker_alone.track(next_id)
    worker_alone.wait_for_outcomes(next_id)
    assert worker_alone.session(session_id) is None
