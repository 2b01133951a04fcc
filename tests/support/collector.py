"""A collector of OpenTelemetry spans: OTLP over HTTP, as the exporter sends them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class CollectedSpan:
    """One span, its ids in hexadecimal; `parent` is empty where it has none."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str]


class Collector:
    """What has come so far, at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[bytes] = []

    @property
    def spans(self) -> list[CollectedSpan]:
        """Every span, in the order of coming."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in list(self.bodies)]
        return [
            CollectedSpan(
                name=span.name,
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                attributes={each.key: each.value.string_value for each in span.attributes},
            )
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def of(self, session_id: str, name: str) -> list[CollectedSpan]:
        """The spans of one payment session with this name."""
        return [
            span
            for span in self.spans
            if span.name == name and span.attributes.get("session_id") == session_id
        ]


@contextmanager
def collector() -> Iterator[Collector]:
    """Collect until the block ends."""

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collected.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
    collected = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collected
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
