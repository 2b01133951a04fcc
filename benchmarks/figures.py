"""Measured figures with their targets, as a table and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured figure: a value for each run, and its target if it has one."""

    name: str
    unit: str
    values: tuple[float, ...]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        """The median of all runs."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; None without a target."""
        if self.at_most is not None:
            return self.median <= self.at_most
        return None if self.at_least is None else self.median >= self.at_least


def table(figures: Iterable[Figure]) -> Iterator[str]:
    """Return the lines of a Markdown table."""
    yield "| figure | target | median | spread | runs | |"
    yield "|---|---|---|---|---|---|"
    for figure in figures:
        lowest, highest = min(figure.values), max(figure.values)
        cells = (
            figure.name,
            _target(figure),
            f"{shown(figure.median)} {figure.unit}",
            f"{shown(lowest)} to {shown(highest)}" if len(figure.values) > 1 else "once",
            str(len(figure.values)),
            {None: "", True: "met", False: "**missed**"}[figure.met],
        )
        yield f"| {' | '.join(cells)} |"


def as_json(figure: Figure) -> dict[str, object]:
    """Return the figure as a JSON object."""
    return asdict(figure) | {"median": figure.median, "met": figure.met}


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value that so many percent do not exceed; values may not be empty."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def shown(value: float) -> str:
    """Return the value with three significant digits."""
    if abs(value) >= 100:  # noqa: PLR2004 - no decimals beyond
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"  # noqa: PLR2004 - one decimal


def _target(figure: Figure) -> str:
    if figure.at_most is not None:
        return f"≤ {shown(figure.at_most)}"
    return "" if figure.at_least is None else f"≥ {shown(figure.at_least)}"
