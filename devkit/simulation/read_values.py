"""The value of a read: turns rates of leaving a status into the effective hazards of a policy.

Seeing a final status is the goal. Seeing another open status is worth what it changes in the time
of the next read: this module weighs both. Needs numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from devkit.simulation.traces import is_final

Floats = NDArray[np.float64]

# Rates per second, by status, by the status that follows, for each bin of ages.
Rates = Mapping[str, Mapping[str, Sequence[float]]]

# Mean lifetime; not one fixed age, which reads would be timed for. Klarna's sessions last 48 h.
_LIFETIME = 48 * 3600.0
_HORIZON = 2 * _LIFETIME
# The value of a step depends on the value of the next status, which may lead back.
_SWEEPS = 3
# Intervals longer than this share of the cap count as capped.
_NEAR_CAP = 0.3


def effective_hazards(
    rates: Rates, ages: Sequence[float], *, scale: float, floor: float = 2.0, cap: float = 2400.0
) -> dict[str, tuple[float, ...]]:
    """Return each status's effective hazard per bin, for a policy with these bounds (seconds).

    At the scale k a request costs as much as 1/2k² seconds of delay: what each read saves at the
    density n = k·√h. With that price, dynamic programming finds the best next read after each
    age of each status, from old age backwards. A policy with the returned hazards reads as often.
    For a status that leads to final ones only, they are close to its hazard.
    """
    grid = _grid()
    open_statuses = {*rates, *(to for exits in rates.values() for to in exits if not is_final(to))}
    lives = {s: _Life.of(rates.get(s, {}), ages, grid) for s in sorted(open_statuses, reverse=True)}
    worth = {status: np.zeros(len(grid)) for status in lives}
    after: dict[str, NDArray[np.int64]] = {}
    for _ in range(_SWEEPS):
        for status, life in lives.items():
            missed = {to: lives[to].when_missed(worth[to]) for to in life.steps}
            worth[status], after[status] = _best_reads(
                life, missed, price=0.5 / scale**2, bounds=(floor, cap)
            )
    found = {status: _hazards(grid, after[status], ages, scale, floor) for status in rates}
    bound = 1 / (_NEAR_CAP * cap * scale) ** 2
    return {status: _uncapped(found[status], rates[status], bound=bound) for status in rates}


@dataclass(frozen=True, slots=True)
class _Life:
    """The exits of sessions from one status, over the cells of the grid."""

    grid: Floats
    # The share still in the status at each age, and the shares that leave it in each cell.
    left: Floats
    finals: Floats
    steps: Mapping[str, Floats]

    @classmethod
    def of(cls, exits: Mapping[str, Sequence[float]], ages: Sequence[float], grid: Floats) -> _Life:
        middles = (grid[1:] + grid[:-1]) / 2
        bins = np.searchsorted(np.asarray(ages), middles, side="right") - 1
        by_exit = {to: np.asarray(curve)[bins] for to, curve in exits.items()}
        total = sum(by_exit.values(), np.full(len(middles), 1 / _LIFETIME))
        # Never zero: it is a divisor, also at ages that no session reaches.
        gone = np.minimum(np.cumsum(total * np.diff(grid)), 500.0)
        left = np.concatenate([[1.0], np.exp(-gone)])
        shares = {to: (left[:-1] - left[1:]) * rate / total for to, rate in by_exit.items()}
        finals = sum((s for to, s in shares.items() if is_final(to)), np.zeros(len(middles)))
        return cls(grid, left, finals, {to: s for to, s in shares.items() if not is_final(to)})

    def when_missed(self, worth: Floats) -> Floats:
        """Return the cost of a step to this status, by the time until a read."""
        final_by = np.concatenate([[0.0], np.cumsum(self.finals)])
        late = np.cumsum((final_by[1:] + final_by[:-1]) / 2 * np.diff(self.grid))
        return np.concatenate([[0.0], late]) + self.left * worth


def _best_reads(
    life: _Life, missed: Mapping[str, Floats], *, price: float, bounds: tuple[float, float]
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the later cost, and the index of the best next read, by the age of a read."""
    grid, last = life.grid, len(life.grid) - 1
    middles = (grid[1:] + grid[:-1]) / 2
    earliest = np.minimum(np.searchsorted(grid, grid + bounds[0]), last)
    latest = np.maximum(np.searchsorted(grid, grid + bounds[1], side="right"), earliest + 1)
    worth, after = np.zeros(last + 1), np.full(last + 1, last)
    # By the index of the next read: the cost of changes from `here` until then.
    until = np.zeros(last + 1)
    for here in range(last - 1, -1, -1):
        reach = slice(here + 1, latest[here])
        wait = grid[reach] - middles[here]
        until[reach] += life.finals[here] * wait
        for to, shares in life.steps.items():
            until[reach] += shares[here] * np.interp(wait, grid, missed[to])
        choice = slice(earliest[here], latest[here])
        left = life.left[choice] / life.left[here]
        costs = price + until[choice] / life.left[here] + left * worth[choice]
        best = int(np.argmin(costs))
        worth[here], after[here] = costs[best], earliest[here] + best
    return worth, after


def _hazards(
    grid: Floats, after: NDArray[np.int64], ages: Sequence[float], scale: float, floor: float
) -> tuple[float, ...]:
    """Return the hazards whose policy reads as often as found, in the middle of each interval."""
    within = grid < _LIFETIME
    begins, ends = grid[within], grid[after[within]]
    middles, densities = (begins + ends) / 2, 1 / np.maximum(ends - begins, floor)
    order = np.argsort(middles, kind="stable")
    edges = np.append(np.asarray(ages), 2 * ages[-1] + 1)
    hazards = []
    for begin, end in pairwise(edges):
        at = np.linspace(begin, end, 20)
        logs = np.interp(at, middles[order], np.log(densities[order]))
        hazards.append(float((np.exp(logs).mean() / scale) ** 2))
    return tuple(hazards)


def _uncapped(
    hazards: Sequence[float], exits: Mapping[str, Sequence[float]], *, bound: float
) -> tuple[float, ...]:
    """Return the hazards; where the cap determined them, let them fall with the rates of the exits.

    Otherwise a policy at a greater scale would read more often than is worth the cost.
    """
    worth, uncapped = 1.0, []
    for index, hazard in enumerate(hazards):
        rate = sum(curve[index] for curve in exits.values())
        if hazard >= bound and rate > 0:
            worth = hazard / rate
            uncapped.append(hazard)
        else:
            uncapped.append(min(hazard, worth * rate))
    return tuple(uncapped)


def _grid() -> Floats:
    """Ages in seconds, closer together where intervals are short."""
    ages = [0.0]
    while ages[-1] < _HORIZON:
        ages.append(ages[-1] + min(300.0, max(0.5, 0.005 * ages[-1])))
    return np.asarray(ages)
