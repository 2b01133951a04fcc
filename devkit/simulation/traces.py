"""Traces of payment sessions for the simulation, and files of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from worker.adapters.json_lines import JsonLinesError, each_line
from worker.domain.session import Kind, final_outcome

# A year: longer than Klarna keeps a session open, and short enough for dates.
_Age = Annotated[float, Field(ge=0, le=31_536_000)]


@dataclass(frozen=True, slots=True)
class Trace:
    """A payment session: its statuses with the seconds since creation at which each began.

    The first begins at 0. `lifetime` is the seconds from creation to `expires_at`.
    """

    lifetime: float
    statuses: tuple[tuple[float, str], ...]

    @property
    def final_at(self) -> float | None:
        """When it became final, in seconds since creation; None if it never did."""
        at, status = self.statuses[-1]
        return at if is_final(status) else None


@lru_cache(maxsize=1024)  # asked at every read of a replay
def is_final(status: str) -> bool:
    """Return whether a session, of whichever kind, ends with this status."""
    return any(final_outcome(kind, status) for kind in Kind)


class _TraceLine(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    lifetime: Annotated[_Age, Field(gt=0)]
    statuses: Annotated[
        tuple[tuple[_Age, Annotated[str, Field(min_length=1, max_length=255)]], ...],
        Field(min_length=1, max_length=10_000),
    ]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.statuses[0][0] != 0:
            raise ValueError("statuses: the first must begin at 0")
        if any(earlier[0] > later[0] for earlier, later in pairwise(self.statuses)):
            raise ValueError("statuses: must be in the order of their times")
        if any(is_final(status) for _, status in self.statuses[:-1]):
            raise ValueError("statuses: a final one must be the last")
        if self.statuses[-1][0] > self.lifetime:
            raise ValueError("statuses: the last begins after lifetime")
        return self


def read_traces(path: Path) -> list[Trace]:
    """Return the traces in a file of JSON Lines; `-` is standard input.

    Raises:
        JsonLinesError: the file cannot be read or is empty, or a line is faulty.
    """
    traces = list(_each_trace(path))
    if not traces:
        raise JsonLinesError(path, "has no trace in it")
    return traces


def write_traces(path: Path, traces: Iterable[Trace]) -> None:
    """Write the traces as `read_traces` reads them, over what the file held.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("w") as file:
        for trace in traces:
            line = {"lifetime": trace.lifetime, "statuses": trace.statuses}
            file.write(json.dumps(line) + "\n")


def _each_trace(path: Path) -> Iterator[Trace]:
    for _, line in each_line(path, _TraceLine):
        if isinstance(line, JsonLinesError):
            raise line
        yield Trace(line.lifetime, line.statuses)


def evenly(traces: Sequence[Trace], most: int) -> list[Trace]:
    """Return `most` of the traces at most, evenly over the list."""
    if len(traces) <= most:
        return list(traces)
    return [traces[position * len(traces) // most] for position in range(most)]


def completions(traces: Iterable[Trace]) -> int:
    """Return how many of the traces become final."""
    return sum(trace.final_at is not None for trace in traces)
