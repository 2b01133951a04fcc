"""`session-worker track --from`: good lines are tracked, bad ones named, again is harmless."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import termios
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import pytest

from devkit.sandbox.server import SandboxServer
from tests.support.command import session_worker
from tests.support.eventually import eventually
from tests.support.processes import BIN
from tests.support.stored import Stored


@pytest.fixture
def stored(environment: dict[str, str]) -> Iterator[Stored]:
    opened = Stored(environment["DATABASE_URL"])
    yield opened
    opened.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sessions.jsonl"


def write(file: Path, *lines: Mapping[str, object] | str) -> Path:
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text("".join(f"{text}\n" for text in texts))
    return file


def test_every_line_is_tracked_with_what_it_says_and_due_at_once(
    environment: dict[str, str], stored: Stored, file: Path, sandbox_server: SandboxServer
):
    url = f"{sandbox_server.url}/hpp/v1/sessions/s2"
    ends = "2030-01-01T00:00:00Z"
    write(
        file,
        {"session_id": "s1"},
        {"session_id": "s2", "session_url": url, "expires_at": ends, "reference": "order-2"},
        {"session_id": "s3", "kind": "kp", "account": "Default"},
    )

    ran = session_worker(environment, "track", "--from", str(file))

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "3 lines: 3 new, 0 updated, 0 unchanged, 0 invalid.\n"
    rows = {n: stored.session(n) for n in ("s1", "s2", "s3")}
    assert rows["s1"]["session_url"] == f"{sandbox_server.url}/hpp/v1/sessions/s1"
    assert rows["s2"]["reference"] == "order-2"
    assert rows["s2"]["expires_at"].isoformat() == "2030-01-01T00:00:00+00:00"
    assert rows["s3"]["session_url"] == f"{sandbox_server.url}/payments/v1/sessions/s3"
    assert (rows["s3"]["account"], rows["s3"]["kind"]) == ("default", "kp")
    now = stored.value("SELECT now()")
    assert all(row["next_poll_at"] <= now and row["lease_id"] is None for row in rows.values())


def test_bad_lines_are_named_by_number_and_reason_and_the_good_ones_kept(
    environment: dict[str, str], stored: Stored, file: Path
):
    stored.add_session("read", status="WAITING", reference="order-1")
    write(
        file,
        {"session_id": "good"},
        {"session_id": "a/b"},
        "not json",
        "",
        {"session_id": "s5", "kind": "checkout"},
        {"session_id": "s6", "session_url": "https://evil.test/s6"},
        {"session_id": "s7", "surprise": "canary"},
        {"reference": "r"},
        ["a list"],
        {"session_id": "read", "reference": "order-2"},
        {"session_id": "s11", "account": "nobody"},
        {"session_id": "s12", "expires_at": 7},
        {"session_id": "good-too"},
    )

    ran = session_worker(environment, "track", "--from", str(file), "--json")

    assert ran.code == 1
    summary = ran.json()
    assert [(bad["line"], bad["field"]) for bad in summary.pop("bad_lines")] == [
        (2, "session_id"),
        (3, None),
        (5, "kind"),
        (6, "session_url"),
        (7, "surprise"),
        (8, "session_id"),
        (9, None),
        (10, "reference"),
        (11, "account"),
        (12, "expires_at"),
    ]
    assert summary == {"lines": 12, "created": 2, "corrected": 0, "known": 0, "bad": 10}
    lines = ran.err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith(f"{file}:2: session_id: must be 1 to 128 letters")
    assert lines[7] == f"{file}:10: reference: contradicts what this session was tracked with"
    assert "canary" not in ran.err + ran.out
    assert {
        row["session_id"] for row in stored.rows("SELECT session_id FROM payment_sessions")
    } == {
        *("good", "good-too", "read"),
    }


def test_the_same_list_again_changes_nothing_and_polls_nothing(
    environment: dict[str, str], stored: Stored, file: Path
):
    """So an interrupted run is simply begun anew, and thousands are not read at once for it."""
    stored.add_session("tracked", due_in=600, reference="order-1")
    stored.add_session("gone", outcome="expired", finished_at="now", next_poll_at=None)
    stored.add_session("done", outcome="completed", finished_at="now", next_poll_at=None)
    before = stored.rows("SELECT * FROM payment_sessions ORDER BY session_id")
    write(
        file,
        {"session_id": "tracked", "reference": "order-1"},
        {"session_id": "gone"},
        {"session_id": "done", "reference": "order-3"},
    )

    counts = session_worker(environment, "track", "--from", str(file), "--json").json()

    assert (counts["known"], counts["created"], counts["corrected"]) == (3, 0, 0)
    assert stored.rows("SELECT * FROM payment_sessions ORDER BY session_id") == before


def test_what_a_line_says_anew_is_taken_over_and_the_session_read_again(
    environment: dict[str, str], stored: Stored, file: Path
):
    """Twice in one list: the later line speaks to what the earlier one made."""
    stored.add_session("s1", due_in=600)
    write(
        file,
        {"session_id": "s1", "reference": "order-1"},
        {"session_id": "s2"},
        {"session_id": "s2", "reference": "order-2"},
        {"session_id": "s2", "reference": "order-2"},
    )

    counts = session_worker(environment, "track", "--from", str(file), "--json").json()

    assert (counts["created"], counts["corrected"], counts["known"]) == (1, 2, 1)
    assert stored.session("s1")["reference"] == "order-1"
    assert stored.session("s1")["next_poll_at"] <= stored.value("SELECT now()")
    assert stored.session("s2")["reference"] == "order-2"


def test_a_line_too_long_to_look_at_is_a_bad_line_like_others(
    environment: dict[str, str], stored: Stored, file: Path
):
    write(file, {"session_id": "s1"}, "x" * 2_100_000, {"session_id": "s3"})

    ran = session_worker(environment, "track", "--from", str(file), "--json")

    assert ran.code == 1
    assert ran.err == f"{file}:2: is longer than 1 MiB\n"
    assert (ran.json()["created"], ran.json()["bad"]) == (2, 1)
    assert stored.session("s3")["outcome"] is None


def unread(pipe: IO[str]) -> int:
    """How many bytes of a pipe nobody has read yet."""
    count = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def test_ctrl_c_ends_it_while_it_waits_for_a_line(environment: dict[str, str], stored: Stored):
    """Somebody types, or the program before it in the pipe says nothing more."""
    command = [BIN / "session-worker", "track", "--from", "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stderr=pipe, text=True) as typed_at:
        # A whole batch is stored; then it waits.
        typed_at.stdin.write("".join(f'{{"session_id": "s{n}"}}\n' for n in range(1001)))
        typed_at.stdin.flush()
        eventually(lambda: stored.value("SELECT count(*) FROM payment_sessions") == 1000)
        # It reads on when it has counted what is stored.
        typed_at.stdin.write('{"session_id": "s1001"}\n')
        typed_at.stdin.flush()
        eventually(lambda: unread(typed_at.stdin) == 0)
        typed_at.send_signal(signal.SIGINT)

        assert typed_at.wait(timeout=30) == 130
        assert typed_at.stderr.read() == (
            "Interrupted. Valid lines up to 1000 are stored: run the same list again.\n"
        )


def test_standard_input_is_a_list_too(environment: dict[str, str], stored: Stored):
    ended = subprocess.run(
        [BIN / "session-worker", "track", "--from", "-"],
        env=environment,
        input='{"session_id": "s1"}\n{"session_id": "s/2"}\n{"session_id": "s3"}',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith("standard input:2: session_id: must be")
    assert stored.value("SELECT count(*) FROM payment_sessions") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (("--from", "missing.jsonl"), 1, "missing.jsonl: cannot be read"),
        (("--from", "x", "s1"), 2, "--from: cannot be combined with other arguments"),
        (("--from", "x", "--reference", "r"), 2, "--from: cannot be combined with other arguments"),
        ((), 2, "session_id: is missing"),
    ],
)
def test_wrong_usage_is_named_and_stores_nothing(
    environment: dict[str, str],
    stored: Stored,
    arguments: tuple[str, ...],
    code: int,
    fault: str,
):
    ran = session_worker(environment, "track", *arguments)

    assert ran.code == code
    assert fault in ran.err
    assert stored.value("SELECT count(*) FROM payment_sessions") == 0


def test_a_database_that_is_away_says_what_was_stored_and_what_to_do(
    environment: dict[str, str], file: Path
):
    write(file, {"session_id": "s1"})
    away = {"DATABASE_URL": "postgresql://app:canary@127.0.0.1:9/postgres"}

    ran = session_worker(environment | away, "track", "--from", str(file))

    assert ran.code == 1
    assert ran.err == (
        "DATABASE_URL: postgres: the connection failed; run `session-worker check`.\n"
    )
    assert "canary" not in ran.err
