"""Cause-specific hazards from stays in a status: the rate of each change, by age.

Piecewise constant over the bins of a policy's ages. A stay does not count before its first
read (left-truncated) nor after its last one (right-censored).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devkit.simulation.sojourns import STAYED, Codes, Floats, Sojourns

# The share that a bin takes from either neighbour, to smooth the curve.
_FROM_A_NEIGHBOUR = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Exits by (status, exit, bin), and seconds stayed by (status, bin); both may be fractions."""

    names: tuple[str, ...]
    ages: Floats
    exits: Floats
    stayed: Floats

    @classmethod
    def none(cls, names: tuple[str, ...], ages: Sequence[float]) -> Counts:
        """Return zero counts over the bins of `ages` (seconds; the last has no end)."""
        size, bins = len(names), len(ages)
        return cls(
            names=names,
            ages=np.asarray(ages, dtype=np.float64),
            exits=np.zeros((size, size, bins)),
            stayed=np.zeros((size, bins)),
        )

    def copy(self) -> Counts:
        """Return a copy."""
        return Counts(
            names=self.names, ages=self.ages, exits=self.exits.copy(), stayed=self.stayed.copy()
        )

    def add_exits(self, status: int, exit_to: int, at: Floats, weights: Floats) -> None:
        """Count exits at these ages, each by its weight."""
        bins = bin_of(self.ages, at)
        self.exits[status, exit_to] += np.bincount(bins, weights, len(self.ages))

    def add_stays(self, status: int, begin: Floats, end: Floats, weights: Floats) -> None:
        """Count the time from `begin` to `end`, each by its weight."""
        self.stayed[status] += _seconds_before(self.ages, end, weights)
        self.stayed[status] -= _seconds_before(self.ages, begin, weights)

    def hazards(self) -> Floats:
        """Return the hazard per second by (status, exit, bin), smoothed over neighbouring bins.

        A bin without data is interpolated between its nearest neighbours.
        """
        stayed = _smoothed(self.stayed)
        rates: Floats = _smoothed(self.exits) / np.maximum(stayed, 1e-9)[:, None, :]
        for of_status, seen in zip(rates, stayed > 0, strict=True):
            _fill(of_status, seen)
        return rates


def certain_counts(
    sojourns: Sojourns, ages: Sequence[float], *, unsure: Codes | None = None
) -> Counts:
    """Return the counts that are certain: stays at the indices `unsure` count to their last read.

    Every other exit counts at its age.
    """
    counts = Counts.none(sojourns.names, ages)
    sure = np.ones(len(sojourns), dtype=np.bool_)
    if unsure is not None:
        sure[unsure] = False
    until = np.where(sure, sojourns.ended, sojourns.last_read)
    for status, here in each_code(sojourns.status):
        ones = np.ones(len(here))
        counts.add_stays(status, sojourns.entered[here], until[here], ones)
        left = here[sure[here]]
        for exit_to, gone in each_code(sojourns.exits[left]):
            if exit_to != STAYED:
                at = sojourns.ended[left[gone]]
                counts.add_exits(status, exit_to, at, np.ones(len(at)))
    return counts


def each_code(codes: Codes) -> Iterator[tuple[int, Codes]]:
    """Yield each code with the indices of its elements."""
    for code in np.unique(codes):
        yield int(code), np.flatnonzero(codes == code).astype(np.int32)


def bin_of(ages: Floats, at: Floats) -> Codes:
    """Return the bin of each age, which is not negative."""
    return (np.searchsorted(ages, at, side="right") - 1).astype(np.int32)


def _seconds_before(ages: Floats, until: Floats, weights: Floats) -> Floats:
    """Return the weighted seconds from 0 to `until` in each bin."""
    last = bin_of(ages, until)
    in_last = np.bincount(last, weights * (until - ages[last]), len(ages)).astype(np.float64)
    reached = np.bincount(last, weights, len(ages))[::-1].cumsum()[::-1]
    in_last[:-1] += np.diff(ages) * reached[1:]
    return in_last


def _smoothed(counts: Floats) -> Floats:
    """Return the counts smoothed over neighbouring bins; the ends keep the missing share."""
    padded = np.concatenate([counts[..., :1], counts, counts[..., -1:]], axis=-1)
    kept = 1 - 2 * _FROM_A_NEIGHBOUR
    aside: Floats = padded[..., :-2] + padded[..., 2:]
    return kept * counts + _FROM_A_NEIGHBOUR * aside


def _fill(rates: Floats, seen: NDArray[np.bool_]) -> None:
    """Interpolate linearly where there are no data, in the rows of one status."""
    indices = np.flatnonzero(seen)
    if len(indices):
        for curve in rates:
            curve[:] = np.interp(np.arange(len(curve)), indices, curve[indices])
