"""The release before the newest migration, from this repository's history."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What of it tests use.
KEPT = ("worker", "config", "docs/roles.sql")


def unpack_previous_release(folder: Path) -> None:
    """The newest code without the newest migration, by this repository's history."""
    newest = max((ROOT / "migrations" / "versions").glob("*.py"))
    added = git("log", "--diff-filter=A", "--format=%H", "--", str(newest)).strip()
    if not added:
        pytest.skip("only a checkout with its history holds the previous release")
    with_it = {added, *git("rev-list", "--ancestry-path", f"{added}..HEAD").split()}
    # Not the commit before it: that of another branch may be newer, and needs the packages of now.
    previous = next(each for each in git("rev-list", "HEAD").split() if each not in with_it)
    archive = folder.with_suffix(".tar")
    git("archive", "--output", str(archive), previous, *KEPT)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")


def git(*arguments: str) -> str:
    ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout if ran.returncode == 0 else ""
