"""Serves a registry over HTTP for Prometheus, in a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server


@contextmanager
def serve(registry: CollectorRegistry, *, host: str, port: int) -> Iterator[None]:
    """Serve `/metrics` until the block ends.

    Raises:
        OSError: the address does not exist or is in use.
    """
    server, thread = start_http_server(port, host, registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
