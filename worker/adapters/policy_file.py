"""Reads and writes polling policies as JSON Lines: a header, then one line per status."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from worker.adapters.json_lines import JsonLinesError, checked, raw_lines
from worker.domain.policy import InvalidPolicyError, PollPolicy

# About 30 years; no session is older.
_Seconds = Annotated[float, Field(ge=0, le=1e9)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Header(_Line):
    policy: Annotated[str, Field(min_length=1, max_length=200)]
    ages: Annotated[tuple[_Seconds, ...], Field(max_length=1000)]
    floor_seconds: _Seconds
    cap_seconds: _Seconds
    calibration: Annotated[tuple[tuple[float, float], ...], Field(max_length=1000)]


class _Status(_Line):
    status: Annotated[str, Field(min_length=1, max_length=255)]
    hazard: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(max_length=1000)]


def read_policy(path: Path) -> PollPolicy:
    """Return the policy in the file, its `scale` 1.

    Raises:
        JsonLinesError: the file cannot be read or is invalid; its text is
            FILE:LINE: field: what is wrong.
    """
    lines = list(raw_lines(path))
    if not lines:
        raise JsonLinesError(path, "is empty; its first line is the policy's header")
    header = checked(path, *lines[0], _Header)
    statuses = _statuses(path, lines[1:])
    try:
        return PollPolicy(
            name=header.policy,
            ages=header.ages,
            hazards={status: row.hazard for status, (_, row) in statuses.items()},
            calibration=header.calibration,
            floor=timedelta(seconds=header.floor_seconds),
            cap=timedelta(seconds=header.cap_seconds),
        )
    except InvalidPolicyError as error:
        number = statuses[error.status][0] if error.status else lines[0][0]
        raise JsonLinesError(path, error.reason, line=number, field=error.field) from None


def write_policy(path: Path, policy: PollPolicy) -> None:
    """Overwrite the file with the policy, but for its `scale`, which is a setting."""
    header = {
        "policy": policy.name,
        "ages": [_short(age) for age in policy.ages],
        "floor_seconds": policy.floor.total_seconds(),
        "cap_seconds": policy.cap.total_seconds(),
        "calibration": [[_short(value) for value in pair] for pair in policy.calibration],
    }
    rows: Iterable[dict[str, object]] = (
        {"status": status, "hazard": [_short(hazard) for hazard in curve]}
        for status, curve in policy.hazards.items()
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in (header, *rows)))


def _statuses(path: Path, lines: Iterable[tuple[int, bytes]]) -> dict[str, tuple[int, _Status]]:
    """Return each status's row, with its line number."""
    found: dict[str, tuple[int, _Status]] = {}
    for number, line in lines:
        row = checked(path, number, line, _Status)
        if row.status in found:
            reason = f"is on line {found[row.status][0]} already"
            raise JsonLinesError(path, reason, line=number, field="status")
        found[row.status] = (number, row)
    return found


def _short(value: float) -> float:
    """Round to six digits; more would be noise of the estimate."""
    return float(f"{value:.6g}")
