"""Spans for OpenTelemetry, sent by OTLP over HTTP; the SDK reads its own OTEL_… variables.

Imported only if tracing is on: it needs the extra `otel`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.services.tracing import Span, Tracer

# By default the SDK tries for 30 s to reach an unavailable collector.
CLOSE_SECONDS = 3.0
NAME = "klarna-session-worker"
_W3C = TraceContextTextMapPropagator()


class _OtelSpan(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, trace.set_span_in_context(span))
        self.trace_parent = carrier.get("traceparent")

    def note(self, **attributes: str | None) -> None:
        """Add attributes, never a secret; None is left out."""
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(name, value)


class _Exporter(OTLPSpanExporter):
    """An exporter that shuts down once and gives up its retries then."""

    _ended = False

    def shutdown(self) -> None:
        if not self._ended:
            self._ended = True
            super().shutdown()  # type: ignore[no-untyped-call]


class OtelTracer(Tracer):
    """Implements the port `Tracer`; `close` sends the remaining spans."""

    def __init__(self) -> None:
        named = Resource({"service.name": NAME, "service.version": version(NAME)})
        self._provider = TracerProvider(
            resource=Resource.create(named.merge(OTELResourceDetector().detect()).attributes),
            shutdown_on_exit=False,
        )
        self._exporter = _Exporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer(NAME)

    def close(self) -> None:
        """Send the remaining spans within CLOSE_SECONDS and shut down; blocks."""
        timer = threading.Timer(CLOSE_SECONDS, self._exporter.shutdown)
        timer.start()
        try:
            self._provider.shutdown()
        finally:
            timer.cancel()

    @contextmanager
    def span(self, name: str, *, parent: str | None, **attributes: str) -> Iterator[Span]:
        """Time the block as a span of the trace that `parent` names, or of a new one."""
        context = _W3C.extract({"traceparent": parent}, Context()) if parent else Context()
        # Only the exception's type: its text may contain a shop's data.
        with self._tracer.start_as_current_span(
            name,
            context,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield _OtelSpan(span)
            except BaseException as error:
                span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise
