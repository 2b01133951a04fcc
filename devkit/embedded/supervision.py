"""One server as a direct child: started, watched, stopped, killed; whoever owns it is the guard.

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
from devkit.embedded.data_dir import Place
from devkit.embedded.process_lifetime import children_of, kill_adopted
from devkit.processes import ChildEndedError, ChildProcess
from devkit.waiting import polls

START_SECONDS = 30.0
STOP_SECONDS = 20.0
# Below the ports systems give to outgoing connections: a client that keeps calling a killed
# server would else, now and then, be given the server's own port and connect to itself.
FIRST_PORT, PORTS = 20_000, 10_000


class ServerExitedError(EmbeddedServerError):
    """The server ended before it was ready; `log` is what it wrote."""

    def __init__(self, name: str, log: str) -> None:
        self.log = log
        super().__init__(f"{name} did not start: {telling_line(log)}")


class SupervisedServer(ABC):
    """One server on one port; after its first start the port stays the same.

    What it writes to its log tells when it is ready (`ready_sign`), and when a former one still
    keeps its data busy (`busy_signs`). A connection would tell no more, and a stranger on the
    port would be told the password.
    """

    name: ClassVar[ServerName]
    stop_signal: ClassVar[signal.Signals]
    ready_sign: ClassVar[str]
    busy_signs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, place: Place, *, port: int | None) -> None:
        self.place = place
        self.port = port or unused_port()
        self.log = place.logs / f"{self.name}.log"
        self._port_is_fixed = port is not None
        self._process: ChildProcess | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Make what must exist before the first start; changes nothing when called again."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line for the present port, without a secret."""

    @abstractmethod
    def folder(self) -> Path:
        """The working folder."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The address, with its password."""

    @property
    def pid(self) -> int | None:
        """The process id while it is meant to run."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start and wait until it takes connections.

        Raises:
            EmbeddedServerError: it does not, by its log's last line.
        """
        self.prepare()
        for _ in polls(START_SECONDS, pause=0.05):
            try:
                self._launch()
            except ServerExitedError as error:
                self._make_way(error)
            else:
                self._port_is_fixed = True
                return
        raise EmbeddedServerError(f"{self.name} found neither a free port nor its data free")

    def stop(self) -> None:
        """End it as its makers intend; kill it if that takes over 20 s."""
        if self._process is None:
            return
        self._process.stop(within=STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it and its children at once, as a power failure would."""
        if self._process is None:
            return
        children = children_of(self._process.pid)
        self._process.kill()
        kill_adopted(children)
        self._process = None

    def unexpected_end(self) -> str | None:
        """One line about an end nobody asked for; None while all is well."""
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
            **identity(self.place.account),
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

    def _make_way(self, error: ServerExitedError) -> None:
        """Prepare another attempt, or raise the error if none can help."""
        if any(sign in error.log for sign in self.busy_signs):
            return
        if "Address already in use" not in error.log:
            raise error
        if self._port_is_fixed:
            raise EmbeddedServerError(f"port {self.port} for {self.name} is taken") from error
        self.port = unused_port()


def unused_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    while True:
        port = FIRST_PORT + secrets.randbelow(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def clean_environment() -> dict[str, str]:
    """This process's environment without what would change a server's behaviour or language."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG", "PYTHON"))
    }
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def telling_line(log: str) -> str:
    """The last line that names a fault, or else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()] or ["(it said nothing)"]
    faults = [line for line in lines if re.search(r"FATAL|PANIC|error|fail", line, re.IGNORECASE)]
    return (faults or lines)[-1]
