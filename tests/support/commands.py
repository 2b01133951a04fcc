"""Several `session-worker` commands in one process: each start of Python costs a second."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PROGRAM = """
import contextlib, io, json, sys
from worker.cli import main
said = []
for arguments in json.loads(sys.argv[1]):
    out, code = io.StringIO(), 0
    sys.argv = ["session-worker", *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    said.append([code, out.getvalue()])
print(json.dumps(said))
"""


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and what it wrote to either output."""

    code: int
    text: str


def run_commands(environment: Mapping[str, str], *commands: Sequence[str]) -> dict[str, Said]:
    """Run the commands one after the other; returns what each said, by its first word."""
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(commands)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answers = json.loads(ended.stdout.splitlines()[-1])
    said = {command[0]: Said(*answer) for command, answer in zip(commands, answers, strict=True)}
    # What went to neither, such as a log line, is no command's own, but was said.
    return said | {"besides": Said(0, ended.stderr)}
