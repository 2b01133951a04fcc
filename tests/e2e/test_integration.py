"""docs/integration.md as written: each way tracks a session, and its event is delivered."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devkit.sandbox.server import SandboxClient
from tests.support import sql_shop
from tests.support.deployment import Deployment
from tests.support.deployment import deployment as deploy
from tests.support.eventually import eventually
from tests.support.flower import Flower, flower
from tests.support.processes import BIN

DOCUMENT = (Path(__file__).parents[2] / "docs" / "integration.md").read_text()
# ```sh flower.sh … ```
PROGRAMS = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))
PAID = [[0, "COMPLETED"]]


@pytest.fixture(scope="module")
def worker_and_beat(
    shared_environment: dict[str, str],
    klarna: SandboxClient,  # noqa: ARG001 - as new
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    environment = shared_environment | {"FLOWER_BASIC_AUTH": "shop:made-up"}
    with deploy(environment, tmp_path_factory.mktemp("deployment")) as deployed:
        deployed.start_all("worker", "beat")
        yield deployed


@pytest.fixture
def shop(worker_and_beat: Deployment) -> Iterator[Deployment]:
    """The shared deployment; after each test all invariants must hold."""
    yield worker_and_beat
    worker_and_beat.assert_invariants()


@pytest.fixture(scope="module")
def running_flower(
    worker_and_beat: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flower]:
    log = tmp_path_factory.mktemp("flower") / "flower.log"
    with flower(worker_and_beat.environment, log) as running:
        running.wait_until_it_answers()
        yield running


def run(program: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a shell program of the document, in a folder that holds its other files."""
    for name, text in PROGRAMS.items():
        (folder / name).write_text(text)
    ended = subprocess.run(
        ["bash", "-e", program],
        cwd=folder,
        env=environment | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def ids_in(*programs: str) -> list[str]:
    return re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "".join(programs))


def assert_event_sent(shop: Deployment, session_id: str, *, reference: str | None) -> None:
    """The payment's event has arrived, with the shop's own fields."""
    assert shop.wait_for_outcomes(session_id) == {session_id: "completed"}
    (event,) = shop.received_of(session_id)
    assert event["type"] == "payment_session.authorized"
    assert event["data"]["reference"] == reference


# --- HTTP


def test_a_shop_in_any_language_tracks_by_flowers_api(
    shop: Deployment, klarna: SandboxClient, running_flower: Flower, tmp_path: Path
):
    (session_id,) = ids_in(PROGRAMS["flower.sh"])
    klarna.create_session(session_id=session_id, steps=PAID)

    answer = run("flower.sh", tmp_path, shop.environment | {"FLOWER_URL": running_flower.url})

    assert_event_sent(shop, session_id, reference="order-20")
    assert set(json.loads(answer)) == {"task-id"}


def test_every_task_of_the_contract_goes_by_flowers_api(
    shop: Deployment, klarna: SandboxClient, running_flower: Flower
):
    """Klarna's creation response as it came, then the order; invalid arguments fail visibly."""
    created = klarna.create_session(steps=PAID)
    session_id = created["session_id"]

    running_flower.send("payment_sessions.track_created", created["response"], reference="r")
    assert_event_sent(shop, session_id, reference="r")
    running_flower.send("payment_sessions.confirm_order", session_id, order_id="order-1")
    shop.wait_for_confirmation(session_id, "order-1")
    wrong = running_flower.send("payment_sessions.confirm_order", session_id, "order-2")

    failed = eventually(
        lambda: (info := running_flower.info(wrong)) and info["state"] == "FAILURE" and info,
        because="the conflict is shown",
    )
    assert "ConflictError('order_id: is not the one" in failed["exception"]


@pytest.mark.parametrize("login", [None, ("shop", "wrong")])
def test_without_its_login_flower_sends_nothing(
    worker_and_beat: Deployment, running_flower: Flower, login: tuple[str, str] | None
):
    """Where it runs alone, no session is stored: there is no invariant to check."""
    code = running_flower.try_to_send("payment_sessions.track", "uninvited", login=login)

    assert code == 401
    assert worker_and_beat.session("uninvited") is None


# --- SQL


def test_the_order_and_its_tracking_commit_together(shop: Deployment, klarna: SandboxClient):
    """The document's own statements, in the shop's transaction; no message goes by the broker."""
    (session_id,) = ids_in(PROGRAMS["track.sql"])
    klarna.create_session(session_id=session_id, steps=PAID)

    with psycopg.connect(shop.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(PROGRAMS["track.sql"])

    assert_event_sent(shop, session_id, reference="order-21")
    assert [r["path"] for r in klarna.requests(session_id=session_id)] == [
        f"/hpp/v1/sessions/{session_id}"
    ]


def test_a_rolled_back_order_is_never_read(shop: Deployment, klarna: SandboxClient):
    undone = klarna.create_session(steps=PAID)["session_id"]
    done = klarna.create_session(kind="kp", steps=[[0, "authorized"]])["session_id"]

    with psycopg.connect(shop.environment["DATABASE_URL"]) as connection:
        sql_shop.track(connection, undone)
        connection.rollback()
        sql_shop.track(connection, done, kind="kp", reference="order-7")

    assert_event_sent(shop, done, reference="order-7")
    assert klarna.requests(session_id=undone) == []
    assert shop.session(undone) is None


def test_an_address_that_sql_cannot_check_is_never_read_and_can_be_corrected(
    shop: Deployment, klarna: SandboxClient
):
    session_id = klarna.create_session(steps=PAID)["session_id"]
    evil = f"https://evil.test/hpp/v1/sessions/{session_id}"

    with psycopg.connect(shop.environment["DATABASE_URL"], autocommit=True) as connection:
        sql_shop.track(connection, session_id, session_url=evil)
        eventually(
            lambda: "origin_not_allowed" in str((shop.session(session_id) or {})["last_error"]),
            because="its error says why nothing is read",
        )
        assert klarna.requests(session_id=session_id) == []
        url = f"{klarna.url}/hpp/v1/sessions/{session_id}"
        sql_shop.track(connection, session_id, session_url=url)

    assert_event_sent(shop, session_id, reference=None)


def test_a_session_tracked_in_sql_may_be_tracked_by_task_as_well(
    shop: Deployment, klarna: SandboxClient
):
    """It has no URL; the shop's later arguments still match."""
    created = klarna.create_session()
    session_id = created["session_id"]
    with psycopg.connect(shop.environment["DATABASE_URL"], autocommit=True) as connection:
        sql_shop.track(connection, session_id)
    eventually(lambda: shop.transitions(session_id) == ["WAITING"], because="it is read")
    klarna.set_status(session_id, "COMPLETED")

    shop.track(session_id, session_url=created["session_url"], reference="order-8")

    assert_event_sent(shop, session_id, reference="order-8")


# --- a list


def test_a_list_is_tracked_line_by_line(shop: Deployment, klarna: SandboxClient, tmp_path: Path):
    first, second = ids_in(PROGRAMS["sessions.jsonl"])
    for session_id in (first, second):
        klarna.create_session(session_id=session_id, steps=PAID)

    said = run("track.sh", tmp_path, shop.environment)

    assert said == "2 lines: 2 new, 0 updated, 0 unchanged, 0 invalid.\n"
    assert_event_sent(shop, first, reference="order-22")
    assert_event_sent(shop, second, reference=None)
