"""Spans of the work, as a port: one trace from track to delivery. This one traces nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from worker.services.meter import NULL_METER, Meter


class Span:
    """A piece of the work; this one is not told of."""

    # W3C's `traceparent` for what follows from it; None where nothing is traced.
    trace_parent: str | None = None

    def note(self, **attributes: str | None) -> None:
        """Say more of it; what is None is left out. No secret."""


_UNTOLD: AbstractContextManager[Span] = nullcontext(Span())


class Tracer:
    """An adapter overrides it."""

    def span(
        self,
        name: str,  # noqa: ARG002 - for who overrides it
        *,
        parent: str | None,  # noqa: ARG002 - likewise
        **attributes: str,  # noqa: ARG002 - likewise
    ) -> AbstractContextManager[Span]:
        """Time the block as a span of the trace that `parent` names, or of a new one. No secret."""
        return _UNTOLD


NULL_TRACER = Tracer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """How a service tells of its work to whoever watches; nobody by default."""

    meter: Meter = NULL_METER
    tracer: Tracer = NULL_TRACER
