"""The mock Klarna server as a subprocess on a free port, with its client."""

import socket
import subprocess
import sys
from types import TracebackType
from typing import Self

from devkit.processes import ChildProcess
from devkit.sandbox.accounts import (
    DEFAULT_PASSWORD,
    DEFAULT_REQUESTS_PER_SECOND,
    DEFAULT_USERNAME,
)
from devkit.sandbox.client import SandboxClient
from devkit.sandbox.client_connection import SandboxControlError
from devkit.sandbox.serving import serve
from devkit.sandbox.traffic import DEFAULT_LOG_SIZE

__all__ = [
    "DEFAULT_PASSWORD",
    "DEFAULT_USERNAME",
    "SandboxClient",
    "SandboxControlError",
    "SandboxServer",
    "serve",
]

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 5.0


class SandboxServer:
    """Runs `python -m devkit.sandbox` while the context is open.

    The child listens on a socket this process opened, so there is no race for the port, and it ends
    when its standard input does: however this process dies, no mock server is left behind. (The
    kernel's parent-death signal would also fire when merely the starting thread ends.)

    `requests_per_second` is the default account's limit, 0 for none. Its credentials are
    `DEFAULT_USERNAME` and `DEFAULT_PASSWORD`.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        seed: int | None = None,
        requests_per_second: int = DEFAULT_REQUESTS_PER_SECOND,
        log_size: int = DEFAULT_LOG_SIZE,
        certfile: str | None = None,
        keyfile: str | None = None,
    ) -> None:
        self._port = port
        self._options = {
            "--seed": seed,
            "--rate-limit": requests_per_second,
            "--log-size": log_size,
            "--certfile": certfile,
            "--keyfile": keyfile,
        }
        self._scheme = "http" if certfile is None else "https"
        self._child: ChildProcess | None = None
        self._client: SandboxClient | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The mock server's origin, such as `http://127.0.0.1:40123`; stays after a restart."""
        return f"{self._scheme}://127.0.0.1:{self._port}"

    @property
    def client(self) -> SandboxClient:
        """A client of the control API, closed with the server.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._client is None:
            raise RuntimeError("the sandbox is not running")
        return self._client

    def start(self) -> Self:
        """Start and wait until it answers.

        Raises:
            RuntimeError: It did not answer within START_TIMEOUT_SECONDS, or runs already.
        """
        if self._child is not None:
            raise RuntimeError("the sandbox is running already")
        with socket.create_server(("127.0.0.1", self._port), backlog=2048) as listener:
            self._port = listener.getsockname()[1]
            self._child = self._spawn(listener.fileno())
        timeout = START_TIMEOUT_SECONDS
        self._client = SandboxClient(self.url, timeout_seconds=timeout, verify=False)
        if not self._client.healthy():
            self.stop()
            raise RuntimeError("the sandbox did not start")
        return self

    def stop(self) -> None:
        """Stop the server at once; it has nothing to save."""
        child, self._child = self._child, None
        client, self._client = self._client, None
        if client is not None:
            client.close()
        if child is not None:
            child.stop(within=STOP_TIMEOUT_SECONDS)

    def _spawn(self, listener_fd: int) -> ChildProcess:
        given = [(name, value) for name, value in self._options.items() if value is not None]
        options = [text for name, value in given for text in (name, str(value))]
        command = [sys.executable, "-m", "devkit.sandbox", "--listener-fd", str(listener_fd)]
        return ChildProcess(
            [*command, *options], stdin=subprocess.PIPE, pass_fds=[listener_fd]
        ).start()
