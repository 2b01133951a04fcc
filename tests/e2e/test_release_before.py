"""Schema, rights and code of two releases: whichever is deployed first, nothing is lost."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devkit.sandbox.server import SandboxClient
from tests.support.databases import Databases, migrate
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.previous_release import unpack_previous_release
from tests.support.roles import Roles

SCHEMA_BEFORE = "d7b3f1a86c52"
CONFIRM = "payment_sessions.confirm_order"


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """The code of the release before."""
    unpack_previous_release(tmp_path / "previous")
    return tmp_path / "previous"


@dataclass(frozen=True)
class Halfway:
    """A deployment of this release whose database is not ready for it; `complete` makes it so."""

    deployment: Deployment
    complete: Callable[[], None]


@pytest.fixture(params=["tables missing", "rights missing"])
def halfway(
    request: pytest.FixtureRequest,
    databases: Databases,
    environment: dict[str, str],
    previous: Path,
    tmp_path: Path,
) -> Iterator[Halfway]:
    url = databases.create_empty()
    migrate(url, SCHEMA_BEFORE)
    given = environment | {"DATABASE_URL": url}
    if request.param == "tables missing":
        with deploy(given, tmp_path) as deployed:
            yield Halfway(deployed, lambda: migrate(url))
    else:
        roles = Roles(url, script=previous / "docs" / "roles.sql")
        migrate(roles.url("migration"))
        with deploy(given, tmp_path) as deployed:
            deployed.environment["DATABASE_URL"] = roles.url("worker")
            yield Halfway(deployed, roles.grant)
        roles.drop()
    databases.drop(url)


def paid(sandbox: SandboxClient) -> str:
    """A session that is completed when it is read."""
    return str(sandbox.create_session(steps=[[0, "COMPLETED"]])["session_id"])


def works(deployment: Deployment, sandbox: SandboxClient) -> None:
    """Track, poll and confirm."""
    session_id = paid(sandbox)
    deployment.track(session_id)
    assert deployment.wait_for_outcomes(session_id) == {session_id: "completed"}
    deployment.send(CONFIRM, session_id, "order-1")
    deployment.wait_for_confirmation(session_id, "order-1")


def test_the_release_before_works_on_this_releases_schema(
    deployment: Deployment,
    sandbox: SandboxClient,
    previous: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    with monkeypatch.context() as elsewhere:
        # Celery imports from the working folder first.
        elsewhere.chdir(previous)
        old = deployment.start_all("worker", "beat")
    works(deployment, sandbox)
    # Sent by the newer release's beat, which works beside them.
    deployment.start("beat")
    works(deployment, sandbox)

    assert [process.stop() for process in old] == [0, 0]
    assert " raised " not in deployment.logs(), "no task failed"
    deployment.assert_invariants()


def test_nothing_is_lost_while_tables_or_rights_are_missing(
    halfway: Halfway, sandbox: SandboxClient
):
    deployment = halfway.deployment
    worker, beat = deployment.start_all("worker", "beat")
    early = paid(sandbox)
    refused = deployment.send("payment_sessions.track", "a/b")
    unknown = deployment.send("shop.send_mail", str(uuid.uuid4()))
    deployment.send(CONFIRM, early, "order-2")
    eventually(
        lambda: (
            {"refused_message_retrying", "confirmation_retrying"}
            <= {name for name in _RETRYING if name in worker.log()}
        ),
        because="they are held",
    )

    works(deployment, sandbox)
    assert [each.process.poll() for each in (worker, beat)] == [None, None]
    # What is held goes back to its queue, and to another worker.
    assert worker.stop() == 0
    worker = deployment.start("worker")
    halfway.complete()

    for task_id in (refused, unknown):
        eventually(
            lambda task_id=task_id: deployment.query(
                "SELECT * FROM refused_messages WHERE task_id = %s", task_id
            ),
            because="it is kept",
        )
    deployment.track(early)
    deployment.wait_for_confirmation(early, "order-2")
    deployment.wait_for_outcomes(early)
    assert [each.stop() for each in (worker, beat)] == [0, 0]
    assert "_crashed" not in deployment.logs()
    assert len(deployment.query("SELECT * FROM refused_messages")) == 2
    deployment.assert_invariants()


_RETRYING = ("refused_message_retrying", "confirmation_retrying")
