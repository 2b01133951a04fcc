"""Policy files are read as they were written; errors name file, line and field."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from config.settings import SHIPPED_POLICY
from tests.support.builders import POLICY
from worker.adapters.json_lines import JsonLinesError
from worker.adapters.policy_file import read_policy, write_policy
from worker.domain.policy import ANY_STATUS

HEADER = {
    "policy": "mine",
    "ages": [0, 10],
    "floor_seconds": 2,
    "cap_seconds": 2400,
    "calibration": [[1, 40], [2, 90]],
}
ROWS = [{"status": "WAITING", "hazard": [0.1, 0.2]}, {"status": "*", "hazard": [0.3, 0.4]}]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.jsonl"


def written(file: Path, *lines: object) -> Path:
    file.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return file


def test_what_is_written_is_read_again(file: Path):
    """But for the scale, which is a setting."""
    write_policy(file, replace(POLICY, scale=7.0))

    read = read_policy(file)

    assert read.scale == 1
    assert (read.name, read.ages, read.floor, read.cap) == (
        *(POLICY.name, POLICY.ages, POLICY.floor, POLICY.cap),
    )
    for status, curve in POLICY.hazards.items():
        assert read.hazards[status] == pytest.approx(curve, rel=1e-5)


def test_empty_lines_are_none(file: Path):
    """Empty lines are skipped, and the others keep their numbers."""
    read = read_policy(written(file, "", HEADER, "  ", *ROWS, ""))

    assert (read.name, sorted(read.hazards)) == ("mine", ["*", "WAITING"])


def test_the_shipped_policy_is_right_and_made_for_the_default():
    """It has a curve for every open status in Klarna's documentation, and one for all others."""
    shipped = read_policy(SHIPPED_POLICY)

    assert shipped.for_requests(50).scale < shipped.for_requests(80).scale
    assert {"WAITING", "IN_PROGRESS", "incomplete", ANY_STATUS} <= set(shipped.hazards)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([], ": is empty; its first line is the policy's header"),
        (["{"], ":1: is not JSON"),
        (["[1]"], ":1: is no JSON object"),
        ([HEADER | {"policy": ""}], ":1: policy: string should have at least 1 character"),
        ([{k: v for k, v in HEADER.items() if k != "ages"}], ":1: ages: is missing"),
        ([HEADER | {"color": "red"}], ":1: color: is not known here"),
        ([HEADER | {"ages": [0, "x"]}], ":1: ages.1: input should be a valid number"),
        ([HEADER | {"floor_seconds": 0}, *ROWS], ":1: floor_seconds: must be at least 0.1"),
        ([HEADER | {"ages": [1, 2]}, *ROWS], ":1: ages: must begin with 0"),
        (["", HEADER, ROWS[0]], ":2: status: no line is for '*', every other status"),
        (
            [HEADER, ROWS[1], {"status": "WAITING", "hazard": [1, -1]}],
            ":3: hazard.1: input should be greater than or equal to 0",
        ),
        (
            [HEADER, ROWS[1], "", {"status": "WAITING", "hazard": [1]}],
            ":4: hazard: has 1 values for 2 ages",
        ),
        ([HEADER, *ROWS, ROWS[0]], ":4: status: is on line 2 already"),
        (
            [HEADER, *ROWS, '{"status": "X", "hazard": [1, NaN]}'],
            ":4: hazard.1: input should be a finite number",
        ),
        (
            [HEADER | {"calibration": [[2, 90], [1, 40]]}, *ROWS],
            ":1: calibration: must be pairs above 0, scale and requests both ascending",
        ),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_field(file: Path, lines: list[object], fault: str):
    """One line that repeats only names of fields from the file."""
    with pytest.raises(JsonLinesError) as refused:
        read_policy(written(file, *lines))

    assert str(refused.value) == f"{file}{fault}"


def test_a_file_that_is_not_there_is_reported_by_its_name(file: Path):
    """A directory is no policy file, either."""
    with pytest.raises(JsonLinesError, match=r"policy\.jsonl: cannot be read: No such file"):
        read_policy(file)
    with pytest.raises(JsonLinesError, match="cannot be read: Is a directory"):
        read_policy(file.parent)


def test_a_line_without_end_is_not_read_into_memory(file: Path):
    """A file of another kind is refused after its first mebibyte."""
    file.write_bytes(b"x" * (1024 * 1024 + 1))

    with pytest.raises(JsonLinesError, match=":1: is longer than 1 MiB"):
        read_policy(file)
