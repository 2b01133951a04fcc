"""Serves a registry over HTTP for Prometheus, in a thread beside the event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server


@contextmanager
def serve(registry: CollectorRegistry, *, host: str, port: int) -> Iterator[None]:
    """Serve `/metrics` until the block ends.

    Raises:
        OSError: there is no such address, or somebody else listens there.
    """
    server, thread = start_http_server(port, host, registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
