"""Spans of the work, as a port: one trace from track to delivery. This one traces nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from worker.services.meter import SILENT, Meter

_NOTHING: AbstractContextManager[str | None] = nullcontext()


class Tracer:
    """An adapter overrides it. No attribute may hold a secret."""

    def span(
        self, name: str, *, parent: str | None, **attributes: str
    ) -> AbstractContextManager[str | None]:
        """Time the block as a span; what it is entered with is the parent of the next ones.

        `parent` and the answer are W3C's `traceparent`; None where nothing is traced.
        """
        del name, parent, attributes
        return _NOTHING


UNTRACED = Tracer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """How a service tells of its work to whoever watches; nobody by default."""

    meter: Meter = SILENT
    tracer: Tracer = UNTRACED
