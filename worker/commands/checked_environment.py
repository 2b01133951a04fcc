"""What `check` says of the environment and of `.env`, as they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator

from config import env_file
from config.misspelt import is_setting, misspelt
from worker.commands.findings import Finding


def check_spelling() -> Iterator[Finding]:
    """Warn of variables that look like settings, and of lines that honcho reads otherwise."""
    for found in misspelt(os.environ):
        yield Finding("settings", warning=str(found))
    if env_file.is_read():
        # It was read when this process started.
        text = env_file.FILE.read_text("utf-8")
        for difference in env_file.differences(text, _matters):
            yield Finding(str(env_file.FILE), warning=difference)


def _matters(name: str) -> bool:
    return is_setting(name) or name.startswith(("FLOWER_", "OTEL_"))
