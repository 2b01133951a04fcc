"""`session-worker health --live`: the progress of this machine's process alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.command import session_worker
from tests.support.processes import NO_ENV_FILE


def live(**environment: str) -> tuple[int, str]:
    ran = session_worker(
        {"PATH": os.environ["PATH"], **NO_ENV_FILE, **environment}, "health", "--live"
    )
    assert ran.err == ""
    return ran.code, ran.out


def test_live_goes_by_the_age_of_the_progress_file_alone(tmp_path: Path):
    """No server is set, and none is asked."""
    file = tmp_path / "progress"
    file.touch()
    now = time.time()  # noqa: TID251 - the file system's clock
    young = live(PROGRESS_FILE=str(file))
    os.utime(file, (now - 45, now - 45))
    middle = live(PROGRESS_FILE=str(file))
    os.utime(file, (now - 100, now - 100))
    old = live(PROGRESS_FILE=str(file))

    assert [young[0], middle[0], old[0]] == [0, 0, 1]
    assert young[1].startswith("ok    progress: ")
    assert old[1].startswith("fault progress: none for 10")


def test_live_without_a_file_is_one_line(tmp_path: Path):
    code, said = live()
    missing_code, missing = live(PROGRESS_FILE=str(tmp_path / "none"))

    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("fault PROGRESS_FILE: is not set: set it for worker and beat")
    assert (missing_code, "No such file or directory" in missing) == (1, True)
