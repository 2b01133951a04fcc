"""The `session-worker` command as an operator runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.processes import BIN


@dataclass(frozen=True)
class Ran:
    """The result of a command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:  # noqa: ANN401 - whatever the command prints
        """Return the JSON document on standard output."""
        return json.loads(self.out)


def session_worker(environment: Mapping[str, str], *arguments: str) -> Ran:
    """Run `session-worker` to its end."""
    ended = subprocess.run(
        [BIN / "session-worker", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)
