"""Imports the devkit's commands: a distribution that production does not have."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from worker.commands.output import fail


def devkit(module: str, *, extras: str) -> Any:  # noqa: ANN401 - not imported, so not typed
    """Import `module` of the devkit, or end with one line that says what to install."""
    try:
        return import_module(f"devkit.{module}")
    except ModuleNotFoundError as error:
        install = f"pip install 'klarna-session-worker[{extras}]'"
        fail(f"This command needs {(error.name or module).partition('.')[0]}: {install}.")
