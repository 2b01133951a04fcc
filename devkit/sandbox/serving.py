"""Runs the mock server under uvicorn in this process."""

import asyncio
import atexit
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from devkit.sandbox.accounts import DEFAULT_REQUESTS_PER_SECOND, Account
from devkit.sandbox.app import create_app
from devkit.sandbox.state import Sandbox
from devkit.sandbox.traffic import DEFAULT_LOG_SIZE

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as HttpProtocol
else:
    from uvicorn.protocols.http.auto import AutoHTTPProtocol as HttpProtocol

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8399
BACKLOG = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the mock server is set up. `requests_per_second` is the default account's limit."""

    accounts: tuple[Account, ...] = ()
    seed: int | None = None
    log_size: int = DEFAULT_LOG_SIZE
    requests_per_second: int = DEFAULT_REQUESTS_PER_SECOND
    certfile: str | None = None
    keyfile: str | None = None


class ConnectionAwareProtocol(HttpProtocol):
    """uvicorn's HTTP protocol that lets the application reach the connection itself.

    ASGI cannot express resets, truncated bodies and malformed heads.
    """

    def connection_made(  # type: ignore[override]  # uvicorn narrows it as well
        self, transport: asyncio.Transport
    ) -> None:
        """Add the connection to what each request's scope carries."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


def serve(
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    *,
    options: Options | None = None,
    listening: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT (raised again as KeyboardInterrupt) or SIGTERM.

    `listening` is called with the origin once the socket listens; port 0 means any free one.

    Raises:
        OSError: The address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=BACKLOG) as listener:
        if listening is not None:
            listening(_origin(listener, host, options))
        serve_on(listener, options)


def serve_on(listener: socket.socket, options: Options | None = None) -> None:
    """Serve on a socket that listens already, until SIGINT or SIGTERM."""
    chosen = options or Options()
    sandbox = Sandbox(
        accounts=chosen.accounts,
        seed=chosen.seed,
        log_size=chosen.log_size,
        requests_per_second=chosen.requests_per_second,
    )
    config = uvicorn.Config(
        create_app(sandbox),
        loop="asyncio",  # faults reach into its transports; another loop may be installed
        http=ConnectionAwareProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        ssl_certfile=chosen.certfile,
        ssl_keyfile=chosen.keyfile,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _origin(listener: socket.socket, host: str, options: Options | None) -> str:
    scheme = "https" if options is not None and options.certfile else "http"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listener.getsockname()[1]}"


def exit_with_parent() -> None:
    """End this process at once when standard input ends, which it does when its parent dies."""

    def wait_for_end() -> None:
        sys.stdin.buffer.read()
        atexit._run_exitfuncs()  # noqa: SLF001 - coverage writes its data there
        os._exit(0)

    threading.Thread(target=wait_for_end, name="parent-watch", daemon=True).start()
