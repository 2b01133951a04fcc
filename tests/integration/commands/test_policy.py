"""`session-worker policy`: from recorded changes, or traces, to a policy file that polls better."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devkit.simulation.baselines import by_policy
from devkit.simulation.population import draw
from devkit.simulation.replay import replay
from devkit.simulation.traces import Trace, read_traces, write_traces
from tests.support.builders import POLICY
from tests.support.command import session_worker
from tests.support.databases import Databases
from tests.support.recorded import record, stories_of
from worker.adapters.policy_file import read_policy
from worker.cli import app

SESSIONS = 1_200
HELD_OUT = 300


@pytest.fixture(scope="module")
def lives() -> list[Trace]:
    """Shifted ones, each cut to five hours: most reads of the rest see nothing."""
    until = 5 * 3600.0
    return [
        Trace(until, tuple(change for change in trace.statuses if change[0] < until))
        for trace in draw("shifted", SESSIONS + HELD_OUT, seed=4)
    ]


@pytest.fixture
def recorded(database_url: str, lives: list[Trace]) -> None:
    """What a worker would have stored that polls by the tests' policy."""
    record(database_url, stories_of(lives[:SESSIONS], by_policy(POLICY)))


@pytest.fixture
def requests(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"POLL_REQUESTS_PER_SESSION": "40"}


@pytest.mark.usefixtures("recorded")
def test_a_policy_fitted_to_what_was_recorded_is_better_on_what_comes_next(
    requests: dict[str, str], lives: list[Trace], tmp_path: Path
):
    """Its file is one that a worker can poll by, and it keeps the number of requests."""
    out = tmp_path / "fitted.jsonl"

    fitted = session_worker(requests, "policy", "fit", "--out", str(out), "--json")

    assert (fitted.code, fitted.err) == (0, "")
    _, as_many, after = fitted.json()["policies"]
    assert after["mean_delay_seconds"] < as_many["mean_delay_seconds"]
    policy = read_policy(out).for_requests(40)
    ahead = replay(lives[SESSIONS:], by_policy(policy))
    assert ahead.requests_per_session == pytest.approx(40, rel=0.1)
    assert session_worker(requests | {"POLL_POLICY_FILE": str(out)}, "check").code == 0


def test_a_policy_is_fitted_to_traces_without_any_server(lives: list[Trace], tmp_path: Path):
    """People get a table: before, before at as many requests, and after."""
    traces, out = tmp_path / "traces.jsonl", tmp_path / "fitted.jsonl"
    write_traces(traces, lives)

    ran = CliRunner().invoke(
        app, ["policy", "fit", "--traces", str(traces), "--out", str(out)], env={}
    )

    assert (ran.exit_code, ran.stderr) == (0, "")
    for part in ("before, at as many requests", "after", f"POLL_POLICY_FILE={out}"):
        assert part in ran.stdout.replace("\n", "")
    assert read_policy(out).name == "fitted"


@pytest.mark.usefixtures("recorded")
def test_recorded_lives_become_traces_without_anything_that_names_a_session(
    requests: dict[str, str], tmp_path: Path
):
    """They are the lives as far as the reads saw them."""
    out = tmp_path / "traces.jsonl"

    ran = session_worker(requests, "policy", "traces", "--out", str(out), "--json")

    assert (ran.code, ran.json()["sessions"]) == (0, SESSIONS)
    assert len(read_traces(out)) == SESSIONS
    known = {"WAITING", "IN_PROGRESS", "COMPLETED"}
    for line in map(json.loads, out.read_text().splitlines()):
        assert set(line) == {"lifetime", "statuses"}
        assert {status for _, status in line["statuses"]} <= known


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"lifetime": 5}', "1: statuses: is missing"),
        ('{"lifetime": 5, "statuses": [[1, "WAITING"]]}', "1: statuses: the first must begin at 0"),
        ("nothing", "1: is not JSON"),
    ],
)
def test_an_unreadable_trace_file_is_named_with_line_and_field(
    line: str, fault: str, tmp_path: Path
):
    """Nothing is written."""
    traces, out = tmp_path / "traces.jsonl", tmp_path / "fitted.jsonl"
    traces.write_text(line + "\n")

    ran = CliRunner().invoke(app, ["policy", "fit", "--traces", str(traces), "--out", str(out)])

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr == f"{traces}:{fault}\n"
    assert not out.exists()


def test_an_unreadable_policy_to_shrink_to_is_named(tmp_path: Path):
    """As the worker would name it."""
    missing = tmp_path / "none.jsonl"

    ran = CliRunner().invoke(
        app, ["policy", "fit", "--policy", str(missing), "--out", str(tmp_path / "out")]
    )

    assert ran.exit_code == 2
    assert ran.stderr == f"{missing}: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("command", ["fit", "traces"])
def test_nothing_recorded_is_nothing_to_go_by(
    command: str, environment: dict[str, str], tmp_path: Path
):
    """One line, and no file."""
    out = tmp_path / "out.jsonl"

    ran = session_worker(environment, "policy", command, "--out", str(out))

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == ("No recorded payment session has ended yet: there is nothing to fit to.\n")
    assert not out.exists()


def test_a_database_that_is_away_or_not_migrated_is_one_line(
    environment: dict[str, str], databases: Databases, tmp_path: Path
):
    """Never a traceback, nor the password."""
    for url, fault in (
        ("postgresql://app:canary@127.0.0.1:9/postgres", "DATABASE_URL: Postgres cannot be"),
        (databases.create_empty(), "The database has no tables yet"),
    ):
        ran = session_worker(
            environment | {"DATABASE_URL": url}, "policy", "fit", "--out", str(tmp_path / "out")
        )
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert ran.err.startswith(fault)
        assert "canary" not in ran.err


def test_a_file_that_cannot_be_written_is_one_line(lives: list[Trace], tmp_path: Path):
    """The fit is done by then; the fault is printed all the same."""
    traces = tmp_path / "traces.jsonl"
    write_traces(traces, lives[:50])

    out = tmp_path / "no" / "out.jsonl"
    ran = CliRunner().invoke(app, ["policy", "fit", "--traces", str(traces), "--out", str(out)])

    assert ran.exit_code == 1
    assert ran.stderr == f"--out: {out} cannot be written: No such file or directory\n"


def test_without_numpy_the_command_says_what_to_install(tmp_path: Path):
    """A worker is installed without it; the command is the only one that needs it."""
    program = (
        "import sys; sys.modules['numpy'] = None; sys.argv[0] = 'session-worker';"
        "from worker.cli import main; main()"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program, "policy", "fit", "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        "This command needs numpy: pip install 'klarna-session-worker[analysis]'.\n"
    )


@pytest.mark.parametrize("command", ["fit", "traces"])
def test_help_has_an_example(command: str):
    """As that of every command."""
    ran = CliRunner().invoke(app, ["policy", command, "--help"])

    assert (ran.exit_code, "Example: " in ran.stdout) == (0, True)
