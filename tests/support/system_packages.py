"""Servers that only the system's packages have; without them the test is skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.node_projects import MUST_RUN


def program_of(package: str, path: Path) -> Path:
    """Return `path` where the Debian package is installed.

    Elsewhere the test is skipped with the command that installs it; under .ci/run it fails.
    """
    if path.exists():
        return path
    missing = f"{package} is not installed: apt-get install --no-install-recommends {package}"
    if os.environ.get(MUST_RUN):
        pytest.fail(missing)
    pytest.skip(missing)
