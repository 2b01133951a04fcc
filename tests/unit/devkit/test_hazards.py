"""Hazards estimated from stays in a status: known ones are found again, whatever hides them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from devkit.simulation.baselines import by_policy
from devkit.simulation.em_estimation import estimate
from devkit.simulation.hazards import Counts
from devkit.simulation.population import draw
from devkit.simulation.sojourns import STAYED, Sojourns, sojourns_of_traces
from devkit.simulation.traces import Trace
from tests.support.builders import POLICY
from tests.support.recorded import stories_of

AGES = (0.0, 20.0, 60.0, 200.0, 600.0)
# What the tests draw from: quick at first, then slower and slower.
TRUE = (0.02, 0.01, 0.005, 0.002, 0.0005)
STAYS = 20_000
NAMES = ("IN_PROGRESS", "COMPLETED", "BACK")


def lives(hazards: Sequence[float], chance: random.Random) -> float:
    """An age at which a stay with these hazards ends."""
    left = chance.expovariate(1)
    for begin, end, hazard in zip(AGES, (*AGES[1:], float("inf")), hazards, strict=True):
        if left <= (end - begin) * hazard:
            return begin + left / hazard
        left -= (end - begin) * hazard
    raise AssertionError


def stays(
    seen: Callable[[float, random.Random], tuple[float, float, float, bool] | None],
    *,
    hazards: Sequence[float] = TRUE,
) -> Sojourns:
    """Stays of which `seen` says when they were entered, last read, ended, and whether exactly."""
    chance = random.Random(1)  # noqa: S311 - a simulation
    rows = [row for _ in range(STAYS) if (row := seen(lives(hazards, chance), chance))]
    entered, last_read, ended, exact = (np.array(column) for column in zip(*rows, strict=True))
    censored = np.isinf(ended)
    return Sojourns(
        names=NAMES,
        status=np.zeros(len(rows), np.int32),
        entered=entered,
        last_read=last_read,
        ended=np.where(censored, last_read, ended),
        exits=np.where(censored, STAYED, 1).astype(np.int32),
        exact=exact,
    )


def hazard(counts: Counts, status: str, exit_to: str) -> list[float]:
    rates = counts.exits / np.maximum(counts.stayed, 1e-9)[:, None, :]
    return rates[counts.names.index(status), counts.names.index(exit_to)].tolist()


def rate(counts: Counts, status: str, exit_to: str, begin: float, end: float) -> float:
    """The hazard over several bins together."""
    bins = (counts.ages >= begin) & (counts.ages < end)
    here = counts.names.index(status)
    exits = counts.exits[here, counts.names.index(exit_to), bins]
    return float(exits.sum() / counts.stayed[here, bins].sum())


def found(sojourns: Sojourns) -> list[float]:
    return hazard(estimate(sojourns, AGES), "IN_PROGRESS", "COMPLETED")


def test_changes_that_klarna_timed_give_the_hazards_they_came_from():
    """Every stay is seen to its end, and the end is timed."""
    assert found(stays(lambda end, _: (0, end, end, True))) == pytest.approx(TRUE, rel=0.05)


def test_a_stay_that_was_not_seen_to_its_end_counts_up_to_its_last_read():
    """Right-censored: thrown away, the abandoned ones would leave only the quick."""

    def seen(end: float, chance: random.Random) -> tuple[float, float, float, bool]:
        last = chance.expovariate(1 / 150)
        return (0, end, end, True) if end <= last else (0, last, float("inf"), True)

    assert found(stays(seen))[:4] == pytest.approx(TRUE[:4], rel=0.07)


def test_a_stay_that_was_tracked_late_counts_from_its_first_read():
    """Left-truncated: those that ended before it are not known of."""

    def seen(end: float, chance: random.Random) -> tuple[float, float, float, bool] | None:
        first = chance.uniform(0, 300)
        return (first, end, end, True) if first < end else None

    assert found(stays(seen)) == pytest.approx(TRUE, rel=0.1)


def test_a_change_without_klarnas_time_is_spread_between_the_two_reads():
    """Interval-censored: the time it was seen at would put each change into a later bin."""

    def seen(end: float, chance: random.Random) -> tuple[float, float, float, bool]:
        begin, step = 0.0, chance.uniform(5, 60)
        while begin + step < end:
            begin, step = begin + step, max(step, begin * 0.5)
        return (0, begin, begin + step, False)

    at_the_read = found(stays(lambda end, chance: (0, *seen(end, chance)[2:3] * 2, True)))
    assert found(stays(seen)) == pytest.approx(TRUE, rel=0.15)
    assert at_the_read[0] < 0.6 * TRUE[0]


def of_stories(traces: Sequence[Trace]) -> Sojourns:
    """The stays as the tests' policy shows them, with the gaps between the reads."""
    rows = []
    for story in stories_of(traces, by_policy(POLICY)):
        for before, after in zip(story.seen, story.seen[1:], strict=False):
            at = after.occurred - before.occurred
            last_read = (after.previous_read or 0.0) - before.occurred
            rows.append((before.status, max(min(last_read, at), 0.0), at, after.status))
        last = story.seen[-1]
        if last.status != "COMPLETED":
            stayed = max(story.last_read - last.occurred, 0.0)
            rows.append((last.status, stayed, stayed, None))
    names = ("WAITING", "IN_PROGRESS", "COMPLETED")
    return Sojourns(
        names=names,
        status=np.array([names.index(row[0]) for row in rows], np.int32),
        entered=np.zeros(len(rows)),
        last_read=np.array([row[1] for row in rows]),
        ended=np.array([row[2] for row in rows]),
        exits=np.array([names.index(row[3]) if row[3] else STAYED for row in rows], np.int32),
        exact=np.ones(len(rows), np.bool_),
    )


FINE = (0.0, *(2 * 1.25**step for step in range(44)))


def first_hours(trace: Trace) -> Trace:
    """What happened in the first four hours: the rest are reads that see nothing."""
    until = 4 * 3600.0
    return Trace(until, tuple(change for change in trace.statuses if change[0] < until))


def test_a_status_that_was_skipped_between_two_reads_is_reported_from_one_that_was_not():
    """WAITING, then COMPLETED: the opening between the reads is put where it may have been."""
    drawn = [trace for trace in draw("assumed", 30_000, seed=3) if trace.statuses[1:]]
    links = [first_hours(trace) for trace in drawn if trace.statuses[1][0] > 60]
    whole, in_part = estimate(sojourns_of_traces(links), FINE), estimate(of_stories(links), FINE)

    opened = [rate(counts, "WAITING", "IN_PROGRESS", 60, 1e4) for counts in (whole, in_part)]
    completed = [rate(counts, "IN_PROGRESS", "COMPLETED", 0, 300) for counts in (whole, in_part)]
    assert opened[1] == pytest.approx(opened[0], rel=0.05)
    assert completed[1] == pytest.approx(completed[0], rel=0.05)


def test_direct_changes_are_reported_from_skipped_ones_by_what_close_reads_show():
    """Half of those who open the page complete at once, in a WAITING that is read every 2 s."""
    chance = random.Random(5)  # noqa: S311 - a simulation
    traces = []
    for _ in range(4_000):
        at = chance.expovariate(1 / 20) + 0.5
        paid = ((at, "COMPLETED"),) if chance.random() < 0.5 else ((at, "IN_PROGRESS"),)
        traces.append(Trace(1000, ((0, "WAITING"), *paid)))
        traces.append(Trace(1000, ((0, "WAITING"), (0.1, "IN_PROGRESS"), (at, "COMPLETED"))))

    counts = estimate(of_stories(traces), FINE)

    direct = counts.exits[0, counts.names.index("COMPLETED")].sum()
    really = sum(trace.statuses[1][1] == "COMPLETED" for trace in traces)
    assert direct == pytest.approx(really, rel=0.1)


def test_direct_changes_stay_direct_where_no_status_lies_between():
    """Nothing is ever seen to lead from WAITING to COMPLETED but the change itself."""
    traces = [Trace(10_000, ((0, "WAITING"), (10.0 * i, "COMPLETED"))) for i in range(1, 200)]

    counts = estimate(of_stories(traces), AGES)

    assert counts.exits[0, counts.names.index("COMPLETED")].sum() == pytest.approx(199)


def test_a_status_repeated_with_a_new_time_begins_anew():
    """Klarna's `updated_at` moved: the age restarts, as it does for the worker."""
    again = ((0, "IN_PROGRESS"), (100, "IN_PROGRESS"), (130, "COMPLETED"))

    counts = estimate(sojourns_of_traces([Trace(1000, again)]), AGES)

    exits = {
        (counts.names[b], at): counts.exits[0, b, at] for b in range(2) for at in range(len(AGES))
    }
    assert {key for key, seen in exits.items() if seen} == {("IN_PROGRESS", 2), ("COMPLETED", 1)}
    assert counts.stayed[0].tolist() == pytest.approx([40, 50, 40, 0, 0])


def test_a_bin_in_which_nobody_was_seen_lies_between_its_neighbours():
    """Two stays: one in the first bins, one tracked in the last."""
    counts = Counts.none(("A", "COMPLETED"), (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
    for begin, rate in ((0.0, 0.1), (6.0, 0.4)):
        time = np.array([100.0 / rate])
        counts.stayed[0, int(begin)] = time[0]
        counts.add_exits(0, 1, np.array([begin]), np.array([100.0]))

    curve = counts.hazards()[0, 1]

    assert curve[[0, 1, 5, 6]] == pytest.approx([0.1, 0.1, 0.4, 0.4])
    assert list(curve) == sorted(curve)
    assert np.ptp(np.diff(curve[1:6])) == pytest.approx(0, abs=1e-9)


def test_nothing_seen_is_no_hazard():
    """No stay at all: nothing to divide, and nothing to warn of."""
    counts = estimate(sojourns_of_traces([]), POLICY.ages)

    assert counts.hazards().size == 0
