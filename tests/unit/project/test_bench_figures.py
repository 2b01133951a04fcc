"""What `bin/bench` makes of what it measured: the table, the verdicts, the guard of speed."""

from __future__ import annotations

import pytest

from benchmarks import guard
from benchmarks.baseline import compared
from benchmarks.chain import GUARDED
from benchmarks.figures import Figure, percentile, table
from benchmarks.load import Mark, between
from benchmarks.memory import slope


def test_a_row_says_target_median_spread_and_verdict() -> None:
    """The median is judged, not the best run; a single run says so."""
    figures = [
        Figure(name="CPU per poll", unit="ms", values=(0.7, 2.5, 0.9), at_most=0.8),
        Figure(name="polls", unit="/s", values=(2300.0,), at_least=2200),
        Figure(name="CPU of redis", unit="ms", values=(0.1, 0.3)),
    ]
    assert list(table(figures))[2:] == [
        "| CPU per poll | ≤ 0.80 | 0.90 ms | 0.70 to 2.50 | 3 | **missed** |",
        "| polls | ≥ 2,200 | 2,300 /s | once | 1 | met |",
        "| CPU of redis |  | 0.20 ms | 0.10 to 0.30 | 2 |  |",
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


def _cpu(name: str, *values: float) -> Figure:
    return Figure(name=name, unit="ms", values=values)


def test_the_guard_sees_a_poll_become_dearer_beside_the_baseline() -> None:
    """Medians are compared, and what grew by a quarter may pass; a slower machine is no matter."""
    baseline = _cpu("baseline: CPU per poll, (a) prefork, 16 processes", 8.0, 80.0, 8.0)
    quick, slow = (
        _cpu(f"chain: CPU per poll, {load.name}", cpu)
        for load, cpu in zip(GUARDED, (1.0, 4.0), strict=True)
    )
    now = guard.ratios([quick, slow, baseline])
    assert now == {"1000/s, 1 worker": 0.125, "200/s, 1 worker": 0.5}
    assert not guard.grown(now, {"1000/s, 1 worker": 0.1, "200/s, 1 worker": 0.4})
    assert guard.grown(now, {"1000/s, 1 worker": 0.125, "200/s, 1 worker": 0.25}) == {
        "200/s, 1 worker": 2.0
    }
    assert guard.ratios([quick, slow]) == {}


def test_one_round_of_the_guard_among_three_may_be_far_off() -> None:
    """Other programs make a poll dearer for a while; a change for the worse is there every time."""
    rounds = [{"a": 0.9, "b": 0.2}, {"a": 0.3, "b": 0.2}, {"a": 0.4, "b": 0.8}]
    assert guard.middle(rounds) == {"a": 0.4, "b": 0.2}


def test_the_stored_ratios_are_of_the_loads_that_are_guarded() -> None:
    """A load without a stored ratio would guard nothing."""
    assert set(guard.stored()) == {load.name for load in GUARDED}
    assert all(0 < ratio < 1 for ratio in guard.stored().values())


def test_memory_that_grows_only_at_the_start_has_no_slope() -> None:
    """Of half an hour the last twenty minutes are judged: those after the tenth."""
    flat = [(float(at), {"worker": min(100 + at / 6, 200.0)}) for at in range(1801)]
    assert slope(flat, "worker", seconds=1200) == pytest.approx(0)
    leak = [(at, {"worker": sizes["worker"] + 5 * at / 3600}) for at, sizes in flat]
    assert slope(leak, "worker", seconds=1200) == pytest.approx(5)


def test_a_window_has_what_came_and_was_used_between_its_marks() -> None:
    """Requests of other sessions, and those before and after it, are none of its polls."""
    marks = [
        Mark(at=at, cpu={"worker": cpu}, memory=memory)
        for at, cpu, memory in ((10.0, 5.0, 90.0), (20.0, 6.0, 95.0))
    ]
    arrivals = [("early", 9.9), ("one", 10.0), ("two", 19.0), ("other", 15.0), ("late", 20.0)]
    due = {"early": 9.0, "one": 9.5, "two": 18.75, "late": 19.0}
    (window,) = between(marks, arrivals, due)
    assert (window.rate, window.lags, window.memory) == (0.2, [0.5, 0.25], 95.0)
    assert window.cpu_ms("worker") == 500.0
