"""Bars of a distribution of durations, for the pages. Pure geometry, no markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from worker.console.wording import span

# Upper edges in seconds of how long sessions have been due; one more bar is beyond the last.
LAG_EDGES: tuple[float, ...] = (1, 2, 5, 10, 30, 60, 300, 1200, 3600)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `share` is its length in percent of the longest."""

    label: str
    count: int
    share: float


def bars(edges: Sequence[float], counts: Sequence[int]) -> list[Bar]:
    """Return a bar for each edge and one for values beyond the last."""
    labels = [*(f"≤ {_short(edge)}" for edge in edges), f"> {_short(edges[-1])}"]
    most = max(*counts, 1)
    return [
        Bar(label, count, round(100 * count / most, 1))
        for label, count in zip(labels, counts, strict=True)
    ]


def of_buckets(edges: Sequence[float], counts: Mapping[int, int]) -> list[Bar]:
    """Return bars of counts by Postgres' width_bucket(); bucket 0 is below the first edge."""
    return bars(edges, [counts.get(number, 0) for number in range(len(edges) + 1)])


def of_cumulative(edges: Sequence[int], rows: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return bars of the sums of rows with `timed` values, of which `within_N_s` took N seconds."""
    upto = [0, *(sum(row[f"within_{edge}_s"] for row in rows) for edge in edges)]
    beyond = sum(row["timed"] for row in rows) - upto[-1]
    return bars(edges, [*(after - before for before, after in pairwise(upto)), beyond])


def _short(seconds: float) -> str:
    return span(seconds).replace(".0", "")
