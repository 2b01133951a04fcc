"""The table of `bin/bench`: medians, spreads and verdicts."""

from __future__ import annotations

import pytest

from benchmarks.baseline import compared
from benchmarks.figures import Figure, percentile, table


def test_a_row_says_target_median_spread_and_verdict() -> None:
    """The median is judged, not the best run; a single run says so."""
    figures = [
        Figure(name="CPU per poll", unit="ms", values=(0.7, 2.5, 0.9), at_most=0.8),
        Figure(name="polls", unit="/s", values=(2300.0,), at_least=2200),
        Figure(name="of it redis", unit="ms", values=(0.1, 0.3)),
    ]
    assert list(table(figures))[2:] == [
        "| CPU per poll | ≤ 0.80 | 0.90 ms | 0.70 to 2.50 | 3 | **missed** |",
        "| polls | ≥ 2,200 | 2,300 /s | once | 1 | met |",
        "| of it redis |  | 0.20 ms | 0.10 to 0.30 | 2 |  |",
    ]


@pytest.mark.parametrize(("percent", "value"), [(50, 51), (95, 96), (99, 100), (100, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    """Nothing is interpolated; the hundredth is the largest."""
    assert percentile(range(1, 101), percent) == value


def test_the_chain_is_compared_where_both_were_measured() -> None:
    """Polls a second and memory have targets beside the baseline; what is missing is left out."""
    chain = Figure(name="chain: polls, saturation, 2 workers", unit="/s", values=(2400.0,))
    prefork = Figure(
        name="baseline: polls, (a) prefork, 16 processes", unit="/s", values=(150.0, 100.0, 160.0)
    )
    (times,) = compared([chain, prefork])
    assert (times.median, times.met) == (16.0, True)
    assert not list(compared([chain]))
