"""The program behind `bin/audit`: runs pip-audit, then checks the lock. Exit code 1 on a finding.

If pip-audit cannot reach its data it skips every package and exits with 0; this program says so.
"""  # noqa: INP001 - a program, never imported

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "requirements"
# The lock that contains all others, and from which the virtual environment is made.
WHOLE = "dev.txt"
TIMEOUT_SECONDS = 180
# Installed without the lock: the project, and what creates a virtual environment.
NOT_LOCKED = {"klarna-session-worker", "klarna-session-worker-devkit", "pip", "setuptools"}
_HASH = re.compile(r"\s--hash=sha256:[0-9a-f]{64}(?=\s|$)")

Pins = dict[NormalizedName, list[Requirement]]


def main() -> int:
    """Return the exit code."""
    faults: list[str] = []
    locks = {file.name: _pins(file, faults) for file in sorted(LOCKS.glob("*.txt"))}
    if not locks.get(WHOLE):
        faults.append(f"requirements/{WHOLE}: locks nothing")
    faults += _known_vulnerabilities()
    faults += _not_in_complete_lock(locks)
    faults += _differing_from_lock(locks.get(WHOLE, {}))
    for fault in faults:
        _say(f"FAULT {fault}")
    pinned = sum(map(len, locks.values()))
    if not faults:
        _say(
            f"{pinned} requirements in {len(locks)} locks are pinned with hashes;"
            " the installed packages match the lock."
        )
    return 1 if faults else 0


def _known_vulnerabilities() -> Iterator[str]:
    report = _pip_audit()
    packages = report.get("dependencies", [])
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        _say(
            "pip-audit is not installed or its data cannot be reached: vulnerabilities were"
            " not checked."
        )
        return
    _say(f"pip-audit checked {len(audited)} of {len(packages)} packages.")
    for package in packages:
        where = f"{package['name']} {package.get('version', '')}".strip()
        if "skip_reason" in package:
            yield f"{where}: not checked by pip-audit: {package['skip_reason']}"
        for known in package.get("vulns", []):
            fixed = ", ".join(known["fix_versions"]) or "no version yet"
            yield f"{where}: {known['id']}, fixed in {fixed}"


def _pip_audit() -> dict[str, Any]:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCKS / WHOLE)]
    command += ["--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    try:
        ended = subprocess.run(  # noqa: S603 - a module of this environment, no shell
            [*command, "--format", "json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        report: dict[str, Any] = json.loads(ended.stdout)
    except (ValueError, subprocess.TimeoutExpired):
        return {}
    return report


def _pins(lock: Path, faults: list[str]) -> Pins:
    """Return the lock's requirements by name; add those not pinned with hashes to `faults`."""
    pins: Pins = {}
    whole_lines = lock.read_text().replace("\\\n", " ").splitlines()
    for line in (line.partition("#")[0].strip() for line in whole_lines):
        if not line:
            continue
        text = _HASH.sub("", f"{line} ").strip()
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            faults.append(f"requirements/{lock.name}: not a valid requirement: {text}")
            continue
        pinned = [pin for pin in requirement.specifier if pin.operator == "=="]
        if requirement.url or len(requirement.specifier) != 1 or not pinned:
            faults.append(f"requirements/{lock.name}: not pinned: {text}")
        if not _HASH.search(f"{line} "):
            faults.append(f"requirements/{lock.name}: without a hash: {text}")
        pins.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return pins


def _not_in_complete_lock(locks: dict[str, Pins]) -> Iterator[str]:
    """Every other lock must be part of the complete one, so that what is tested is what runs."""
    whole = {(name, str(r.specifier)) for name, rs in locks.get(WHOLE, {}).items() for r in rs}
    for lock, pins in locks.items():
        for name, requirements in pins.items():
            for requirement in requirements:
                if (name, str(requirement.specifier)) not in whole:
                    yield f"requirements/{lock}: {name}{requirement.specifier} is not in {WHOLE}"


def _differing_from_lock(pins: Pins) -> Iterator[str]:
    installed = {canonicalize_name(d.metadata["Name"]): d.version for d in distributions()}
    for name, requirements in pins.items():
        wanted = [r for r in requirements if r.marker is None or r.marker.evaluate()]
        for requirement in wanted:
            version = installed.get(name)
            if version is None:
                yield f"{name}: locked as {requirement.specifier}, not installed"
            elif not requirement.specifier.contains(version, prereleases=True):
                yield f"{name}: locked as {requirement.specifier}, installed is {version}"
    for name in sorted(installed.keys() - pins.keys() - NOT_LOCKED):
        yield f"{name} {installed[name]}: installed, but not locked"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
