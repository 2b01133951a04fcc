"""The supervisor as the starting process sees it: spawn it, send commands, end it.

It leaves no open pipe and no child, however the supervisor ended.
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
    Running,
    ServerName,
    SupervisorOrder,
)
from devkit.processes import ChildProcess, pipe_of

END_SECONDS = 60.0
PROJECT = Path(__file__).resolve().parents[2]


class SupervisorProcess:
    """A running supervisor; the constructor only spawns it, `first_reply` waits for its servers."""

    def __init__(self, order: SupervisorOrder, *, lock: int) -> None:
        # Opened here, so that it can be read even when its folder has been removed.
        self._log: BinaryIO = Path(order.state_dir, "supervisor.log").open("a+b")  # noqa: SIM115 - closed by end()
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
        self._send(order.to_json())

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    def first_reply(self) -> Running:
        """Wait for the servers; return what runs.

        Raises:
            EmbeddedServerError: a server did not start.
        """
        return self._next_reply()

    def ask(self, action: Action, server: ServerName) -> Running:
        """Send a command about one server; return what runs afterwards.

        Raises:
            EmbeddedServerError: it could not, or the supervisor has ended.
        """
        self._send(json.dumps({"action": action, "server": server}))
        return self._next_reply()

    def has_ended(self) -> bool:
        """Return whether the supervisor has ended."""
        return not self._process.is_running

    def why_it_ended(self) -> str:
        """Return one line; to be called once, when it has ended."""
        try:
            self._next_reply()
        except EmbeddedServerError as error:
            return str(error)
        return "the supervisor of the embedded servers ended"

    def end(self) -> bool:
        """End it with its servers and wait; return whether it ended in order."""
        # If it has to be killed, the kernel ends its servers.
        code = self._process.stop(within=END_SECONDS)
        pipe_of(self._process.process.stdout).close()
        self._log.close()
        return code >= 0

    def _send(self, line: str) -> None:
        with suppress(BrokenPipeError):
            stdin = pipe_of(self._process.process.stdin)
            stdin.write(line + "\n")
            stdin.flush()

    def _next_reply(self) -> Running:
        line = pipe_of(self._process.process.stdout).readline()
        if line:
            return Running.from_json(line)
        self._process.process.wait()
        raise EmbeddedServerError(self._end_without_reply())

    def _end_without_reply(self) -> str:
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").split("\n")
        last = next((part for part in reversed(said) if part.strip()), "")
        code = self._process.process.returncode
        return f"the supervisor of the embedded servers ended (exit code {code}) {last}".strip()
