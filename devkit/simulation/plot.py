"""Plots of simulations, as PNG files. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from devkit.simulation.comparison import Row
from worker.domain.policy import PollPolicy

_SIZE = (7.0, 4.2)
_DOTS_PER_INCH = 110


def draw_frontier(rows: Sequence[Row], file: Path) -> None:
    """Draw each schedule's mean delay against its requests per session into a PNG file.

    Raises:
        OSError: the file cannot be written.
        ValueError: its name has no suffix of an image format.
    """
    figure, axes = _canvas("requests per payment session", "mean delay, seconds")
    for schedule in dict.fromkeys(row.schedule for row in rows):
        made = [row.made for row in rows if row.schedule == schedule]
        points = sorted((m.requests_per_session, m.mean_delay) for m in made if m.mean_delay)
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=schedule)
    axes.set_yscale("log")
    axes.legend(fontsize=8)
    figure.savefig(file)


def draw_intervals(policy: PollPolicy, statuses: Sequence[str], file: Path) -> None:
    """Draw the interval until the next read against the age of the status into a PNG file."""
    figure, axes = _canvas("age of the status, seconds", "until the next read, seconds")
    ages = [1.05**step for step in range(250)]
    for status in statuses:
        axes.plot(ages, [policy.interval(status, age) for age in ages], label=status)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend(fontsize=8)
    figure.savefig(file)


def _canvas(across: str, upwards: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_xlabel(across)
    axes.set_ylabel(upwards)
    axes.grid(visible=True, which="major", alpha=0.3)
    return figure, axes
