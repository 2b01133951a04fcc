"""`--help` of every command and sub-command: what it does, and an example that is right."""

from __future__ import annotations

import re
import shlex
import subprocess
from importlib.metadata import version

import click
import pytest
import typer
from typer.testing import CliRunner

from tests.support.processes import BIN
from worker.cli import app

ROOT = typer.main.get_command(app)


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


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_an_example_stands_on_one_line(path: tuple[str, ...]):
    """In 80 columns: wrapped, it would be pasted as two commands."""
    shown = CliRunner().invoke(app, [*path, "--help"], terminal_width=80)
    written = re.findall(r"^ *(Example: .*)$", command_at(path).help or "", re.MULTILINE)

    assert written
    assert all(f"  {example}\n" in shown.stdout for example in written)


@pytest.mark.parametrize("path", sorted({path[:-1] for path in ALL}), ids=" ".join)
def test_a_list_of_commands_cuts_no_sentence_short(path: tuple[str, ...]):
    shown = CliRunner().invoke(app, [*path, "--help"], terminal_width=80)

    assert "Commands:" in shown.stdout
    assert "..." not in shown.stdout.partition("Commands:")[2]


@pytest.mark.parametrize("option", [("up", "--flower-port"), ("sandbox", "--port")])
def test_a_port_is_one(option: tuple[str, str]):
    asked = CliRunner().invoke(app, [*option, "65536"])

    assert asked.exit_code == 2
    assert option[1] in asked.output


def test_the_version_is_reported():
    ran = CliRunner().invoke(app, ["--version"])

    assert (ran.exit_code, ran.stdout) == (0, f"{version('klarna-session-worker')}\n")


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
