"""The starting process's end of the guard: spawn it, ask it, end it.

It must leave no open pipe and no child behind, whatever way the guard ended.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from devkit.embedded.contract import (
    Action,
    EmbeddedServerError,
    GuardOrder,
    Running,
    ServerName,
)
from devkit.processes import ChildProcess, pipe_of

END_SECONDS = 60.0
PROJECT = Path(__file__).resolve().parents[2]


class GuardProcess:
    """A running guard; the constructor only spawns it, `first_answer` waits for its servers."""

    def __init__(self, order: GuardOrder, *, lock: int) -> None:
        # Opened here, so that what it says can be read even when its folder is gone.
        self._log: BinaryIO = Path(order.state_dir, "guard.log").open("a+b")  # noqa: SIM115 - closed by end()
        self._process = ChildProcess(
            [sys.executable, "-P", "-m", "devkit.embedded.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            cwd="/",
            pass_fds=[lock],
        ).start()
        self._tell(order.to_json())

    @property
    def pid(self) -> int:
        """The guard's process id."""
        return self._process.pid

    def first_answer(self) -> Running:
        """What runs, once it does.

        Raises:
            EmbeddedServerError: a server did not start.
        """
        return self._next_answer()

    def ask(self, action: Action, server: ServerName) -> Running:
        """Have the guard act on one server; what runs afterwards.

        Raises:
            EmbeddedServerError: it could not, or the guard has ended.
        """
        self._tell(json.dumps({"action": action, "server": server}))
        return self._next_answer()

    def has_ended(self) -> bool:
        """Whether the guard is gone."""
        return not self._process.is_running

    def why_it_ended(self) -> str:
        """One line; to be called once, when it has ended."""
        try:
            self._next_answer()
        except EmbeddedServerError as error:
            return str(error)
        return "the guard of the embedded servers ended"

    def end(self) -> bool:
        """Have it end with its servers and wait for that; whether it ended in order."""
        # If it has to be killed, the kernel ends its servers.
        code = self._process.stop(within=END_SECONDS)
        pipe_of(self._process.process.stdout).close()
        self._log.close()
        return code >= 0

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):
            stdin = pipe_of(self._process.process.stdin)
            stdin.write(line + "\n")
            stdin.flush()

    def _next_answer(self) -> Running:
        line = pipe_of(self._process.process.stdout).readline()
        if line:
            return Running.from_json(line)
        self._process.process.wait()
        raise EmbeddedServerError(self._silent_end())

    def _silent_end(self) -> str:
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").split("\n")
        last = next((part for part in reversed(said) if part.strip()), "")
        code = self._process.process.returncode
        return f"the guard of the embedded servers ended (exit code {code}) {last}".strip()
