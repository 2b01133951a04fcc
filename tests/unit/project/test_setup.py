"""bin/setup on a machine that lacks something: it says what, and repairs what it left half made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# A project that its own backend installs: nothing is downloaded.
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    info = "{name}-1.dist-info"
    with zipfile.ZipFile(f"{{folder}}/{name}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{{info}}/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1\\n")
        wheel.writestr(
            f"{{info}}/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\n"
            "Tag: py3-none-any\\n"
        )
        wheel.writestr(f"{{info}}/RECORD", "")
    return "{name}-1-py3-none-any.whl"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of one as bin/setup looks at, with nothing to download."""
    for folder, name in ((tmp_path, "one"), (tmp_path / "devkit", "two")):
        folder.mkdir(exist_ok=True)
        (folder / "pyproject.toml").write_text(PYPROJECT)
        (folder / "backend.py").write_text(BACKEND.format(name=name))
    (tmp_path / "requirements").mkdir()
    for name in ("uv.txt", "dev.txt"):
        (tmp_path / "requirements" / name).write_text("# nothing\n")
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "bin" / "setup", tmp_path / "bin")
    return tmp_path


def setup(checkout: Path, python: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", checkout / "bin" / "setup"],
        env={"PATH": os.environ["PATH"], "PYTHON": python, "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_half_made_environment_is_made_anew(checkout: Path):
    """As Debian's Python leaves it behind where its package python3-venv is missing."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    assert (checkout / ".venv" / "bin" / "python").exists()

    ended = setup(checkout, sys.executable)

    assert ended.returncode == 0, ended.stderr
    listed = [checkout / ".venv" / "bin" / "python", "-m", "pip", "list", "--format=freeze"]
    assert "one==1" in subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    assert (checkout / ".venv" / ".stamp").exists()
    assert setup(checkout, sys.executable).stderr == ""


@pytest.mark.parametrize("python", ["/nonexist", "no-such-python"])
def test_a_python_that_is_not_there_is_said_to_be_not_found(checkout: Path, python: str):
    ended = setup(checkout, python)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"{python}: not found.")
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_too_old_is_reported_what_is_needed(checkout: Path):
    old = checkout / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    ended = setup(checkout, str(old))

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Python 3.11 or later is needed;")


def test_the_readme_names_debians_package():
    assert "`python3-venv`" in (ROOT / "README.md").read_text()
