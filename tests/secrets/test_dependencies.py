"""`bin/audit` on locks that are wrong in one way each, and `bin/sbom`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HASH = f"--hash=sha256:{'0' * 64}"
UNREACHABLE = "vulnerabilities were not checked"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The audit with the project's own locks, for a test to change."""
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "bin" / "audit.py", tmp_path / "bin")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def _audit(tree: Path, report: object = None) -> tuple[int, str]:
    """Run it, beside a pip-audit that answers `report`; none means that it fails."""
    folder = tree / "pip_audit"
    folder.mkdir()
    (folder / "__init__.py").touch()
    answer = "raise SystemExit(1)" if report is None else f"print({json.dumps(report)!r})"
    (folder / "__main__.py").write_text(answer)
    ended = subprocess.run(
        [sys.executable, tree / "bin" / "audit.py"],
        env={"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ended.stderr
    return ended.returncode, ended.stdout


def _add(tree: Path, line: str) -> None:
    with (tree / "requirements" / "dev.txt").open("a") as lock:
        lock.write(f"{line}\n")


def test_the_projects_own_locks_are_right(tree: Path):
    code, said = _audit(tree)

    assert code == 0, said
    assert UNREACHABLE in said
    assert "are pinned with hashes" in said


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (f"celery>=5 {HASH}", "not pinned: celery>=5"),
        (f"celery {HASH}", "not pinned: celery"),
        ("celery==5.7.0", "without a hash: celery==5.7.0"),
        ("celery==5.7.0 --hash=md5:0", "not a valid requirement: celery==5.7.0 --hash=md5:0"),
        (f"celery @ https://x.invalid/celery.whl {HASH}", "not pinned: celery @ https://x.invalid"),
        ("--index-url https://x.invalid/simple", "not a valid requirement: --index-url"),
        ("-r other.txt", "not a valid requirement: -r other.txt"),
        (f"celery==0.1 {HASH}", "celery: locked as ==0.1, installed is"),
        (f"no-such-package==1 {HASH}", "no-such-package: locked as ==1, not installed"),
    ],
)
def test_a_line_that_locks_nothing_or_something_else_is_a_fault(tree: Path, line: str, fault: str):
    _add(tree, line)

    code, said = _audit(tree)

    assert code == 1
    assert fault in said


def test_what_is_installed_and_locked_nowhere_is_a_fault(tree: Path):
    lock = tree / "requirements" / "dev.txt"
    lock.write_text(lock.read_text().replace("\npytest==", "\n# pytest=="))

    code, said = _audit(tree)

    assert code == 1
    assert "pytest" in said


def test_a_known_vulnerability_is_a_fault(tree: Path):
    vulnerable = {"id": "PYSEC-0", "fix_versions": ["9"]}
    package = {"name": "celery", "version": "5.7.0", "vulns": [vulnerable]}

    code, said = _audit(tree, {"dependencies": [package]})

    assert code == 1
    assert "FAULT celery 5.7.0: PYSEC-0, fixed in 9" in said


def test_a_pip_audit_that_skipped_everything_is_none(tree: Path):
    """It calls that success; nothing was looked at."""
    skipped = [{"name": name, "skip_reason": "not found"} for name in ("celery", "httpx")]

    code, said = _audit(tree, {"dependencies": skipped})

    assert code == 0
    assert UNREACHABLE in said


def test_the_sbom_names_everything_that_runs(tmp_path: Path):
    target = tmp_path / "sbom.cdx.json"

    subprocess.run([ROOT / "bin" / "sbom", target], check=True, capture_output=True)

    sbom = json.loads(target.read_text())
    parts = {part["name"]: part["version"] for part in sbom["components"]}
    locked = [
        line.partition("==")[0].partition("[")[0]
        for line in (ROOT / "requirements" / "runtime.txt").read_text().splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    ]
    assert sbom["bomFormat"] == "CycloneDX"
    assert sbom["metadata"]["component"]["name"] == "klarna-session-worker"
    assert set(parts) == set(locked) > {"celery", "httpx", "sqlalchemy"}
