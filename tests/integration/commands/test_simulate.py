"""`session-worker simulate`, from traces to figures and a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import SHIPPED_POLICY
from devkit.simulation.population import draw
from devkit.simulation.traces import write_traces
from tests.support.command import session_worker

FIGURES = {
    *("schedule", "requests_per_session", "mean_delay_seconds", "p50", "p95", "p99"),
    *("within_10_s", "never_seen"),
}


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    file = tmp_path / "traces.jsonl"
    write_traces(file, draw("assumed", 60, seed=1))
    return file


def test_it_compares_a_policy_with_others_at_as_many_requests(
    environment: dict[str, str], traces: Path, tmp_path: Path
):
    """JSON on standard output alone; the picture is a PNG."""
    picture = tmp_path / "frontier.png"

    ended = session_worker(
        environment,
        *("simulate", "--traces", str(traces), "--policy", str(SHIPPED_POLICY)),
        *("--requests", "50", "--requests", "80", "--json", "--plot", str(picture)),
    )

    assert ended.code == 0, ended.err
    answer = ended.json()
    assert answer["sessions"] == 60
    assert len(answer["schedules"]) == 12
    for row in answer["schedules"]:
        assert set(row) == FIGURES
    assert {round(row["requests_per_session"], -1) for row in answer["schedules"]} == {50, 80}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_it_draws_sessions_of_a_population_where_no_traces_are_given(environment: dict[str, str]):
    """The same for the same seed."""
    arguments = ("simulate", "--population", "shifted", "--sessions", "20", "--seed", "4")

    ended, again = (session_worker(environment, *arguments) for _ in range(2))

    assert ended.code == 0, ended.err
    assert "20 payment sessions" in ended.out
    assert ended.out == again.out


@pytest.mark.parametrize("option", ["--traces", "--policy"])
def test_a_wrong_file_is_reported_by_file_line_and_field(
    environment: dict[str, str], tmp_path: Path, option: str
):
    """Wrong usage, in one line."""
    file = tmp_path / "wrong.jsonl"
    file.write_text('{"nothing": 1}\n')

    ended = session_worker(environment, "simulate", option, str(file))

    assert ended.code == 2
    assert ended.err.startswith(f"{file}:1: ")
    assert ended.err.count("\n") == 1


def test_a_picture_that_cannot_be_written_fails_the_command(
    environment: dict[str, str], traces: Path, tmp_path: Path
):
    """In one line, naming the option."""
    ended = session_worker(
        environment,
        *("simulate", "--traces", str(traces), "--plot", str(tmp_path / "no" / "p.png")),
    )

    assert ended.code == 1
    assert ended.err.strip().splitlines()[-1].startswith("--plot: ")


@pytest.mark.parametrize("requests", ["0", "1e9", "nan"])
def test_a_number_of_requests_that_nobody_makes_is_refused_at_once(
    environment: dict[str, str], requests: str
):
    """A thousand million would be replayed for days."""
    ended = session_worker(environment, "simulate", "--sessions", "1", "--requests", requests)

    assert ended.code == 2
    assert "'--requests'" in ended.err
