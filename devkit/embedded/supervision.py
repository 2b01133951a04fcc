"""One server as a child process of the supervisor: started, watched, stopped, killed.

It must be used from the main thread: the kernel ends a server with the thread that started it.
"""

import os
import re
import secrets
import signal
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from devkit.embedded.account import identity
from devkit.embedded.contract import EmbeddedServerError, ServerName
from devkit.embedded.data_dir import DataDir
from devkit.embedded.process_lifetime import children_of, kill_adopted
from devkit.processes import ChildEndedError, ChildProcess
from devkit.waiting import polls

START_SECONDS = 30.0
STOP_SECONDS = 20.0
# Below the ports systems give to outgoing connections: otherwise a client that retries a
# killed server is sometimes given that port as its own, and connects to itself.
FIRST_PORT, PORTS = 20_000, 10_000


class ServerExitedError(EmbeddedServerError):
    """The server ended before it was ready; `log` is what it wrote."""

    def __init__(self, name: str, log: str) -> None:
        self.log = log
        super().__init__(f"{name} did not start: {error_line(log)}")


class SupervisedServer(ABC):
    """One server on one port; after its first start the port stays the same.

    Its log says when it is ready (`ready_sign`), and when a former server still uses its data
    (`busy_signs`). A test connection would send the password to whatever listens on the port.
    """

    name: ClassVar[ServerName]
    stop_signal: ClassVar[signal.Signals]
    ready_sign: ClassVar[str]
    busy_signs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, data_dir: DataDir, *, port: int | None) -> None:
        self.data_dir = data_dir
        self.port = port or unused_port()
        self.log = data_dir.logs / f"{self.name}.log"
        self._port_is_fixed = port is not None
        self._process: ChildProcess | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Create what must exist before the first start, once."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line for the current port, without a secret."""

    @abstractmethod
    def folder(self) -> Path:
        """Return the working folder."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL, with its password."""

    @property
    def pid(self) -> int | None:
        """The process id; None if it was stopped or killed."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start and wait until it takes connections.

        Raises:
            EmbeddedServerError: it does not; the message has a line of its log.
        """
        self.prepare()
        for _ in polls(START_SECONDS, pause=0.05):
            try:
                self._launch()
            except ServerExitedError as error:
                self._prepare_retry(error)
            else:
                self._port_is_fixed = True
                return
        raise EmbeddedServerError(f"{self.name} found neither a free port nor its data free")

    def stop(self) -> None:
        """Stop it with its own signal; kill it if that takes over 20 s."""
        if self._process is None:
            return
        self._process.stop(within=STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill it and its children."""
        if self._process is None:
            return
        children = children_of(self._process.pid)
        self._process.kill()
        kill_adopted(children)
        self._process = None

    def unexpected_end(self) -> str | None:
        """Return one line if it ended by itself; else None."""
        if self._process is None or self._process.is_running:
            return None
        code = self._process.process.returncode
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        log = self.log.read_text(errors="replace").splitlines()
        tail = log[-1] if log else "(none)"
        return f"{self.name} ended unexpectedly ({reason}); its last log line: {tail}"

    def _launch(self) -> None:
        self._process = ChildProcess(
            self.command(),
            log_file=self.log,
            ready=self.ready_sign,
            stop_signal=self.stop_signal,
            ends_with_parent=True,
            cwd=self.folder(),
            env=clean_environment(),
            **identity(self.data_dir.account),
        ).start()
        try:
            self._process.wait_until_ready(within=START_SECONDS)
        except ChildEndedError as error:
            self._process = None
            raise ServerExitedError(self.name, error.output) from error
        except TimeoutError as error:
            self.kill()
            message = f"{self.name} did not answer within {START_SECONDS:.0f} s"
            raise EmbeddedServerError(message) from error

    def _prepare_retry(self, error: ServerExitedError) -> None:
        """Prepare another attempt, or raise the error if that cannot help."""
        if any(sign in error.log for sign in self.busy_signs):
            return
        if "Address already in use" not in error.log:
            raise error
        if self._port_is_fixed:
            raise EmbeddedServerError(f"port {self.port} for {self.name} is taken") from error
        self.port = unused_port()


def unused_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    while True:
        port = FIRST_PORT + secrets.randbelow(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what changes a server's behaviour or language."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG", "PYTHON"))
    }
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def error_line(log: str) -> str:
    """Return the last line with an error, or else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()] or ["(its log is empty)"]
    faults = [line for line in lines if re.search(r"FATAL|PANIC|error|fail", line, re.IGNORECASE)]
    return (faults or lines)[-1]
