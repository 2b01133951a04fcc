"""PROGRESS_FILE: real processes touch it regularly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.eventually import eventually


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_it_is_written_again_and_again(deployment: Deployment, tmp_path: Path, role: str):
    """By the worker's own checks, by beat's ticks."""
    file = tmp_path / "progress"
    process = deployment.start(role, PROGRESS_FILE=str(file))

    eventually(file.exists)
    file.unlink()
    eventually(file.exists, within=40, because="progress is noted again")
    assert process.stop() == 0
