"""The console as a command: wrong settings, taken places, least roles, a database away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.command import session_worker
from tests.support.console import LOGIN, console
from tests.support.console_data import CANARY, INJECTED, PAID, add_console_data
from tests.support.roles import Roles
from tests.support.stored import Stored
from tests.support.tcp_proxy import TcpProxy

AUTH = tuple(LOGIN.split(":"))
UNKNOWN = "39a1c773-bafd-754d-af1f-b30c592f1267"
NOBODY = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def roles(database_url: str) -> Iterator[Roles]:
    made = Roles(database_url)
    yield made
    made.drop()


@pytest.mark.parametrize(
    ("settings", "arguments", "fault"),
    [
        ({}, (), "CONSOLE_BASIC_AUTH: must be user:password"),
        ({"CONSOLE_BASIC_AUTH": "secretive"}, (), "CONSOLE_BASIC_AUTH: must be user:password"),
        ({"CONSOLE_BASIC_AUTH": "user:"}, (), "CONSOLE_BASIC_AUTH: must be user:password"),
        (
            {"CONSOLE_UNAUTHENTICATED": "true"},
            ("--host", "0.0.0.0"),  # noqa: S104 - it is refused
            "CONSOLE_UNAUTHENTICATED: works only on this machine",
        ),
        (
            {"CONSOLE_UNAUTHENTICATED": "true", "CONSOLE_REPLAY": "true"},
            (),
            "CONSOLE_REPLAY: needs a login",
        ),
        ({"CONSOLE_BASIC_AUTH": LOGIN, "DATABASE_URL": "mysql://x"}, (), "DATABASE_URL: must"),
    ],
)
def test_what_is_not_safe_or_not_right_is_refused_in_one_line(
    environment: dict[str, str], settings: dict[str, str], arguments: tuple[str, ...], fault: str
):
    """Before it listens; the line names the variable and no secret."""
    ran = session_worker(environment | settings, "console", "--port", "0", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1].strip().startswith(fault)
    assert "secretive" not in ran.err


def test_a_taken_port_is_named(environment: dict[str, str], tmp_path: Path):
    """The second console on a port says which, and ends."""
    with console(environment, tmp_path / "log") as origin:
        port = origin.rpartition(":")[2]

        ran = session_worker(environment | {"CONSOLE_BASIC_AUTH": LOGIN}, "console", "--port", port)

    assert ran.code == 1
    assert f"--port: cannot listen on 127.0.0.1:{port}" in ran.err


def test_the_reader_of_roles_sql_suffices(roles: Roles, database_url: str, tmp_path: Path):
    """Every page but replay is shown to a role that cannot write, nor read the token."""
    stored = Stored(database_url)
    add_console_data(stored)
    stored.close()
    with (
        console({"DATABASE_URL": roles.url("reader")}, tmp_path / "log") as origin,
        httpx.Client(base_url=origin, auth=AUTH, trust_env=False) as visitor,
    ):
        pages = {
            path: visitor.get(path)
            for path in ("/", "/sessions", f"/sessions/{PAID}", "/deliveries/dead", "/refused")
        }

        assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(pages, 200)
        assert not [path for path, page in pages.items() if CANARY in page.text]
        assert ">Replay<" not in pages["/deliveries/dead"].text
        assert visitor.post("/deliveries/replay", data={"sink": "webhook"}).status_code == 403


def test_replay_asks_with_the_workers_role_and_reads_with_the_readers(
    roles: Roles, database_url: str, tmp_path: Path
):
    """Least privilege: the role that may write is used for the button alone."""
    stored = Stored(database_url)
    console_data = add_console_data(stored)
    settings = {
        "DATABASE_URL": roles.url("worker"),
        "CONSOLE_DATABASE_URL": roles.url("reader"),
        "CONSOLE_REPLAY": "true",
    }
    with (
        console(settings, tmp_path / "log") as origin,
        httpx.Client(base_url=origin, auth=AUTH, trust_env=False) as visitor,
    ):
        page = visitor.get("/deliveries/dead").text
        csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
        form = {"csrf": csrf, "event_id": str(console_data.dead), "sink": "webhook"}

        answer = visitor.post("/deliveries/replay", data=form)

    assert "replayed=sent" in answer.headers["Location"]
    (shown,) = [
        line for line in (tmp_path / "log").read_text().splitlines() if "replay_requested" in line
    ]
    assert "operator" in shown
    assert str(console_data.dead) in shown
    assert stored.delivery(console_data.dead, "webhook")["dead_at"] is None
    stored.close()


def test_without_a_database_it_says_so_and_goes_on(tmp_path: Path):
    """503 and one line: no traceback, no address, no password; the health check still answers."""
    log = tmp_path / "log"
    with console({"DATABASE_URL": NOBODY}, log) as origin:
        answer = httpx.get(origin, auth=AUTH, trust_env=False)

        assert answer.status_code == 503
        assert "Postgres cannot be reached" in answer.text
        assert 'http-equiv="refresh"' in answer.text, "a screen on a wall comes back by itself"
        assert "Traceback" not in answer.text + log.read_text()
        assert httpx.get(f"{origin}/healthcheck", trust_env=False).is_success


def test_postgres_that_hangs_is_a_page_within_ten_seconds(
    environment: dict[str, str], tmp_path: Path
):
    """Connected or not: what was answered before shows nothing of the next answer."""
    with TcpProxy(environment["DATABASE_URL"]) as proxy:
        settings = environment | {"DATABASE_URL": proxy.url}
        with (
            console(settings, tmp_path / "log") as origin,
            httpx.Client(base_url=origin, auth=AUTH, trust_env=False, timeout=10) as client,
        ):
            assert client.get("/sessions").status_code == 200
            proxy.drop()

            connected, unconnected = client.get("/sessions"), client.get("/sessions")
            assert [connected.status_code, unconnected.status_code] == [503, 503]
            assert "Postgres" in connected.text
            proxy.restore()
            assert client.get("/sessions").status_code == 200


def test_a_search_without_a_match_advises_to_track_klarnas_ids_alone(
    environment: dict[str, str], tmp_path: Path
):
    with console(environment, tmp_path / "log") as origin:
        found = {
            sought: httpx.get(
                f"{origin}/sessions", params={"q": sought}, auth=AUTH, trust_env=False
            ).text
            for sought in ("order-1001", "1; rm -r x", UNKNOWN)
        }

    for sought, page in found.items():
        assert f"<h1>No match for “{sought}”</h1>" in page
    assert "session-worker" not in found["order-1001"] + found["1; rm -r x"]
    assert f"session-worker track {UNKNOWN}" in found[UNKNOWN]


def test_the_overview_says_which_processes_run(
    environment: dict[str, str], database_url: str, tmp_path: Path
):
    stored = Stored(database_url)
    stored.add_process("worker")
    stored.rows(
        "INSERT INTO queues (queue, waiting, waiting_since, unchanged_since)"
        " VALUES ('payment-sessions', 2, now(), now() - interval '80 s')"
    )
    stored.close()
    with console(environment, tmp_path / "log") as origin:
        page = httpx.get(origin, auth=AUTH, trust_env=False).text

    assert "<b>1</b> worker running</li>" in page
    assert "<b>0</b> beats running, none ever seen</li>" in page
    assert "queue payment-sessions stands still, 2 messages waiting</li>" in page


def test_an_open_console_answers_to_this_machines_own_names_only(
    environment: dict[str, str], tmp_path: Path
):
    """A stranger's name that was made to lead here gets nothing."""
    settings = environment | {"CONSOLE_UNAUTHENTICATED": "true", "CONSOLE_BASIC_AUTH": ""}
    with console(settings, tmp_path / "log") as origin:
        assert httpx.get(origin, trust_env=False).status_code == 200
        foreign = httpx.get(origin, headers={"Host": "evil.test"}, trust_env=False)

    assert foreign.status_code == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("sessions?state=nonsense", 400),
        ("sessions?state=open&after=nonsense", 400),
        ("sessions?state=open&after=2026-01-01T00:00:00%2B00:00~x", 200),
        ("sessions?q=%00", 200),
        (f"sessions?q={INJECTED}", 200),
        ("sessions?account=%27%3B--", 200),
        ("sessions/%00", 404),
    ],
)
def test_any_query_is_answered(environment: dict[str, str], tmp_path: Path, path: str, status: int):
    """Nonsense is refused or finds nothing; never a fault of ours."""
    with console(environment, tmp_path / "log") as origin:
        answer = httpx.get(f"{origin}/{path}", auth=AUTH, trust_env=False)

    assert answer.status_code == status
    assert "<script>window" not in answer.text


def test_a_link_from_elsewhere_puts_nothing_into_a_command(
    environment: dict[str, str], tmp_path: Path
):
    """Who copies the command that the page proposes runs that one alone."""
    path = "deliveries/dead?replayed=without_token&event_id="
    with console(environment, tmp_path / "log") as origin:
        page = httpx.get(f"{origin}/{path}1%3B+rm+-r+x", auth=AUTH, trust_env=False).text

    proposed = page.partition("<code>session-worker ")[2].partition("</code>")[0]
    assert "&#39;1; rm -r x&#39;" in proposed
