"""`--help` of every command and sub-command: what it does, and an example that is right."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from tests.support.processes import BIN
from worker.cli import app

ROOT = typer.main.get_command(app)
OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
TOLD = sorted(set(re.findall(r"`(session-worker [^`]+)`", OPERATIONS)))


def commands(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    """The path of every command below, groups excluded."""
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found += commands(command, *path, name) if inner else [(*path, name)]
    return found


def command_at(path: tuple[str, ...]) -> click.Command:
    found: click.Command = ROOT
    for name in path:
        found = found.commands[name]
    return found


ALL = commands(ROOT)


def test_commands_of_groups_are_among_them():
    assert {("check",), ("events", "replay"), ("policy", "fit")} <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_has_an_example_that_the_command_understands(path: tuple[str, ...]):
    """Each example is parsed as it stands, and not run: options and arguments must exist."""
    shown = CliRunner().invoke(app, [*path, "--help"])
    examples = re.findall(r"Example: (.*?)(?:\n\n|\Z)", command_at(path).help or "", re.DOTALL)

    assert shown.exit_code == 0
    assert "Example: " in shown.stdout
    for example in examples:
        words = [word for word in shlex.split(example) if not re.match(r"[A-Z_]+=", word)]
        words = words[: words.index("|")] if "|" in words else words
        assert words[: 1 + len(path)] == ["session-worker", *path]
        command_at(path).make_context(" ".join(path), words[1 + len(path) :])


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"`(session-worker [^`]+)`", OPERATIONS)))
)
def test_every_command_of_the_page_for_operators_is_one(command: str):
    """Parsed as it stands: who is on call at night must not read the help first."""
    words = shlex.split(command)[1:]
    length = max((n for n in range(1, 3) if tuple(words[:n]) in ALL), default=0)

    assert length, "no such command"
    path = tuple(words[:length])
    command_at(path).make_context(" ".join(path), as_typed(words[length:]))


def as_typed(words: list[str]) -> list[str]:
    """What the page leaves to the reader, filled in."""
    filled = {"SECONDS": "60", "ID": "0b1d9815-165e-42e2-8867-35bc03789e00", "ORDER": "order-1"}
    return [filled.get(word, word) for word in words]


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_says_what_it_is(path: tuple[str, ...]):
    unsaid = [p.name for p in command_at(path).params if not getattr(p, "help", None)]

    assert unsaid == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completion_knows_commands_and_options(shell: str):
    """What a shell asks when the tab key is pressed behind `session-worker events re`."""
    asked = subprocess.run(
        [BIN / "session-worker"],
        env={
            "_SESSION_WORKER_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": "session-worker events re",
            "COMP_CWORD": "2",
            "_TYPER_COMPLETE_ARGS": "session-worker events re",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "replay" in asked.stdout, asked.stderr
