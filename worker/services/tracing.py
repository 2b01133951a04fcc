"""The port for traces: one trace of spans from `track` to the last delivery."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from worker.services.meter import NULL_METER, Meter


class Span:
    """A span that records nothing; adapters override it."""

    # W3C's `traceparent` for child spans; None if nothing is traced.
    trace_parent: str | None = None

    def note(self, **attributes: str | None) -> None:
        """Add attributes, except those that are None. No secrets."""


class Tracer(Protocol):
    """Opens spans."""

    def span(
        self, name: str, *, parent: str | None, **attributes: str
    ) -> AbstractContextManager[Span]:
        """Trace the block as a span of the trace of `parent`, or of a new trace. No secrets."""


class NullTracer:
    """Traces nothing."""

    def span(
        self, name: str, *, parent: str | None, **attributes: str
    ) -> AbstractContextManager[Span]:
        """Return a span that records nothing."""
        del name, parent, attributes
        return _NULL_SPAN


_NULL_SPAN: AbstractContextManager[Span] = nullcontext(Span())
NULL_TRACER = NullTracer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """Where a service reports its work; nowhere by default."""

    meter: Meter = NULL_METER
    tracer: Tracer = NULL_TRACER
