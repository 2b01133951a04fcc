"""Serves the console with uvicorn in this process."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp


def serve(app: ASGIApp, host: str, port: int, *, listening: Callable[[str], None]) -> None:
    """Serve until SIGINT (raised again as KeyboardInterrupt) or SIGTERM.

    `listening` is called with the origin once connections are accepted; port 0 is any free one.

    Raises:
        OSError: the address is not available.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        shown = f"[{host}]" if ":" in host else host
        listening(f"http://{shown}:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        uvicorn.Server(config).run(sockets=[listener])
