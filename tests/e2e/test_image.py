"""The image is built and run, where this machine can build one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TAG = "klarna-session-worker:tested"
# Pulling a base image may take its time.
PATIENCE_SECONDS = 900


def builder() -> str | None:
    """Return the first engine that responds: a client without its daemon builds nothing."""
    for name in ("docker", "podman"):
        if shutil.which(name):
            asked = subprocess.run([name, "info"], capture_output=True, timeout=60, check=False)
            if asked.returncode == 0:
                return name
    return None


@pytest.mark.slow
def test_it_is_built_and_starts_as_nobody_on_a_root_that_cannot_be_written():
    name = builder()
    if name is None:
        pytest.skip("NO BUILDER: neither docker nor podman answers; the image was not built")

    build = [name, "build", "--quiet", "--tag", TAG, str(ROOT)]
    made = subprocess.run(
        build, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert made.returncode == 0, made.stderr
    run = [name, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", TAG]  # noqa: S108 - in the container
    for command in (["session-worker", "--help"], ["celery", "-A", "worker", "--help"]):
        ran = subprocess.run([*run, *command], capture_output=True, text=True, check=False)
        assert "Usage" in ran.stdout, ran.stderr
    found = subprocess.run(
        [*run, "find", ".", "-newermt", "now"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, "find, which the probes need"
    who = subprocess.run([*run, "id", "-u"], capture_output=True, text=True, check=False)
    assert who.stdout.strip() == "10001"
