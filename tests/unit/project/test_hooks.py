"""The hooks do what CI does: neither finds what the other does not look for."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
# What makes a bare machine ready; a developer's is.
READY = ("Browser: ", "Prometheus: ", "Servers: ", "Set up")
HOOKS = [
    hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repository["hooks"]
]


def sections() -> dict[str, str]:
    """Each section of .ci/run with its command."""
    written = re.findall(
        r'^section "(.+?)" (.+)$', (ROOT / ".ci" / "run").read_text(), re.MULTILINE
    )
    return {title: command for title, command in written if not title.startswith(READY)}


def test_every_check_of_ci_is_a_hook_by_the_same_program():
    hooks = {hook["name"]: hook["entry"].split()[0] for hook in HOOKS}
    checks = sections()

    assert len(checks) >= 6
    assert hooks.keys() - checks.keys() == {"Tests: unit"}
    for title, command in checks.items():
        assert hooks[title] in command.split(), title


def test_every_program_is_of_this_checkout():
    for hook in HOOKS:
        assert hook["language"] == "system"
        assert hook["entry"].startswith((".venv/bin/", "bin/"))
