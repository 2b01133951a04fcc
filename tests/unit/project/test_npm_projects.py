"""What is installed from npm: locked by hash, without an address to get it from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.node_projects import ROOT

PROJECTS = sorted(
    path.parent
    for folder in ("examples", "tests")
    for path in (ROOT / folder).rglob("package.json")
    if "node_modules" not in path.parts
)


def test_the_projects_are_those_that_bin_lock_locks():
    assert [str(project.relative_to(ROOT)) for project in PROJECTS] == [
        "examples/node_shop",
        "tests/support/asyncapi",
    ]
    locking = (ROOT / "bin" / "lock").read_text()
    assert "for project in examples/node_shop tests/support/asyncapi; do" in locking


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_its_lock_has_a_hash_of_every_package_and_no_address(project: Path):
    text = (project / "package-lock.json").read_text()
    named = json.loads((project / "package.json").read_text())
    packages = json.loads(text)["packages"]

    assert packages[""]["dependencies"] == named["dependencies"]
    assert all(package["integrity"] for path, package in packages.items() if path)
    assert "resolved" not in text
    assert (project / ".npmrc").read_text() == "omit-lockfile-registry-resolved=true\n"
