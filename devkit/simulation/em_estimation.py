"""What may have happened between two reads: expectation maximisation over the ways to get there.

A status change whose time Klarna does not give lies anywhere between the two reads. And a status
that began and ended between them was skipped: WAITING, then COMPLETED. Each such change is spread
over all that it may have been, a sudden one and one by way of another status, in proportion to
what the hazards of the round before make of each; from that the hazards are estimated anew. How
usual sudden changes are is learned where the reads were close: elsewhere nothing tells the two
apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devkit.simulation.hazards import Counts, bin_of, certain_counts
from devkit.simulation.sojourns import STAYED, Codes, Floats, Sojourns

_ROUNDS = 20
# Of each sort of change this many are spread, each for as many of its sort as it takes.
_SPREAD_AT_MOST = 5_000
_MOMENTS = 12
# A status is taken as skipped where it is one of this share of what a stay goes over to.
_SHARE_OF_WAYS = 0.01
# Reads are close up to this gap, or where there are few such, up to the shortest tenth of the gaps.
_CLOSE_SECONDS = 5.0
_CLOSEST_SHARE = 0.1
# No gap: Klarna's times have milliseconds.
_SHORTEST_GAP_SECONDS = 0.01
_LEAST_HAZARD = 1e-12


def estimate(sojourns: Sojourns, ages: Sequence[float]) -> Counts:
    """Return exits and time stayed by bin, with what was not seen in its expected parts."""
    changes = list(_changes(sojourns))
    unsure = np.concatenate([np.zeros(0, np.int32), *(change.places for change in changes)])
    certain = certain_counts(sojourns, ages, unsure=unsure)
    counts = certain
    for turn in range(_ROUNDS if changes else 0):
        hazards = _Hazards.of(counts) if turn else None
        counts = certain.copy()
        for change in changes:
            change.spread(counts, hazards)
    return counts


@dataclass(frozen=True, slots=True)
class _Hazards:
    """The hazards of a round, and what they sum up to by the beginning of each bin."""

    ages: Floats
    by_exit: Floats
    sums: Floats

    @classmethod
    def of(cls, counts: Counts) -> _Hazards:
        by_exit = np.maximum(counts.hazards(), _LEAST_HAZARD)
        mass = by_exit.sum(axis=1)[:, :-1] * np.diff(counts.ages)
        sums = np.concatenate([np.zeros((len(mass), 1)), mass.cumsum(axis=1)], axis=1)
        return cls(counts.ages, by_exit, sums)

    def log_left(self, status: int, exits: tuple[int, ...], at: Floats) -> Floats:
        """The log of the density of leaving at this age for one of these, counted from age 0."""
        bins = bin_of(self.ages, at)
        rates = self.by_exit[status].sum(axis=0)[bins]
        stayed = self.sums[status][bins] + rates * (at - self.ages[bins])
        left: Floats = np.log(self.by_exit[status, exits].sum(axis=0)[bins]) - stayed
        return left


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """One way from a status to another, at several moments: one row per change."""

    # The status passed through, if any, and how long it was stayed in.
    over: int | None
    at: Floats
    stayed: Floats
    log_width: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """All unsure changes of one sort: from one status to another, timed by Klarna or not."""

    status: int
    exit_to: int
    places: Codes
    last_read: Floats
    weight: float
    # How many are sudden for each that goes over to one of the statuses that may be passed through.
    sudden: float
    ways: tuple[_Way, ...]

    def spread(self, counts: Counts, hazards: _Hazards | None) -> None:
        """Count each change in its expected parts; without hazards every way is as likely."""
        parts = self._parts(hazards)
        begin = 0
        for way in self.ways:
            end = begin + way.at.shape[1]
            self._count(counts, way, (parts[:, begin:end] * self.weight).ravel())
            begin = end

    def _parts(self, hazards: _Hazards | None) -> Floats:
        if hazards is None:
            return self._first_guess()
        logs = np.concatenate([self._log_density(way, hazards) for way in self.ways], axis=1)
        parts = np.exp(logs - logs.max(axis=1, keepdims=True))
        whole: Floats = parts / parts.sum(axis=1, keepdims=True)
        return whole

    def _first_guess(self) -> Floats:
        """Every way and every moment alike."""
        alike = [np.full(way.at.shape, 1 / way.at.shape[1]) for way in self.ways]
        return np.concatenate(alike, axis=1) / len(self.ways)

    def _log_density(self, way: _Way, hazards: _Hazards) -> Floats:
        if way.over is not None:
            there: Floats = hazards.log_left(self.status, (way.over,), way.at)
            return there + hazards.log_left(way.over, (self.exit_to,), way.stayed) + way.log_width
        others = tuple(other.over for other in self.ways if other.over is not None)
        if not others:
            return hazards.log_left(self.status, (self.exit_to,), way.at) + way.log_width
        return hazards.log_left(self.status, others, way.at) + math.log(self.sudden)

    def _count(self, counts: Counts, way: _Way, parts: Floats) -> None:
        at, first = way.at.ravel(), np.repeat(self.last_read, way.at.shape[1])
        counts.add_stays(self.status, first, at, parts)
        if way.over is None:
            counts.add_exits(self.status, self.exit_to, at, parts)
            return
        stayed = way.stayed.ravel()
        counts.add_exits(self.status, way.over, at, parts)
        counts.add_stays(way.over, np.zeros_like(stayed), stayed, parts)
        counts.add_exits(way.over, self.exit_to, stayed, parts)


def _changes(sojourns: Sojourns) -> Iterator[_Change]:
    """Every sort of change that leaves a guess, with what it may have been."""
    left = sojourns.exits != STAYED
    gaps = np.where(left, sojourns.ended - sojourns.last_read, 0.0)
    exits, close = _exits(sojourns, left), _exits(sojourns, left & _is_close(sojourns, gaps))
    unsure = gaps > _SHORTEST_GAP_SECONDS
    for status in range(len(sojourns.names)):
        for exit_to in range(len(sojourns.names)):
            here = unsure & (sojourns.status == status) & (sojourns.exits == exit_to)
            over = _skippable(exits, close, status, exit_to)
            if over:
                sudden = close[status, exit_to] / close[status, list(over)].sum()
                yield from _change(sojourns, here & sojourns.exact, over, sudden)
            yield from _change(sojourns, here & ~sojourns.exact, (), 1.0)


def _is_close(sojourns: Sojourns, gaps: Floats) -> NDArray[np.bool_]:
    """Whether the two reads around a change are among the closest of its status."""
    close = np.zeros(len(sojourns), np.bool_)
    for status in range(len(sojourns.names)):
        here = (sojourns.status == status) & (sojourns.exits != STAYED)
        if here.any():
            bound = max(_CLOSE_SECONDS, float(np.quantile(gaps[here], _CLOSEST_SHARE)))
            close |= here & (gaps <= bound)
    return close


def _exits(sojourns: Sojourns, which: NDArray[np.bool_]) -> Floats:
    """How many changes were seen, by status before and after."""
    size = len(sojourns.names)
    exits = np.zeros((size, size))
    np.add.at(exits, (sojourns.status[which], sojourns.exits[which]), 1)
    return exits


def _skippable(exits: Floats, close: Floats, status: int, exit_to: int) -> tuple[int, ...]:
    """The statuses that may lie between two: each step to and from them is seen by itself."""
    steps = np.minimum(
        exits[status] / max(exits[status].sum(), 1),
        exits[:, exit_to] / np.maximum(exits.sum(axis=1), 1),
    )
    usual = np.flatnonzero((steps >= _SHARE_OF_WAYS) & (close[status] > 0))
    return tuple(int(over) for over in usual if over not in {status, exit_to})


def _change(
    sojourns: Sojourns, which: NDArray[np.bool_], over: tuple[int, ...], sudden: float
) -> Iterator[_Change]:
    places = np.flatnonzero(which).astype(np.int32)
    if not len(places):
        return
    spread = places[np.linspace(0, len(places) - 1, min(len(places), _SPREAD_AT_MOST)).astype(int)]
    last_read, ended = sojourns.last_read[spread], sojourns.ended[spread]
    first = int(spread[0])
    yield _Change(
        status=int(sojourns.status[first]),
        exit_to=int(sojourns.exits[first]),
        places=places,
        last_read=last_read,
        weight=len(places) / len(spread),
        sudden=max(sudden, _LEAST_HAZARD),
        ways=_ways(last_read, ended, exact=bool(sojourns.exact[first]), over=over),
    )


def _ways(
    last_read: Floats, ended: Floats, *, exact: bool, over: tuple[int, ...]
) -> tuple[_Way, ...]:
    # Denser where it began: a status is left soon after it began rather than late.
    edges = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, _MOMENTS)])
    gap = (ended - last_read)[:, None]
    offsets = gap * (edges[1:] + edges[:-1]) / 2
    widths = np.log(gap * np.diff(edges))
    none = np.zeros((len(ended), 1))
    if exact:
        sudden = _Way(over=None, at=ended[:, None], stayed=none, log_width=none)
    else:
        at = last_read[:, None] + offsets
        sudden = _Way(over=None, at=at, stayed=none, log_width=widths)
    by_way = (
        _Way(over=status, at=ended[:, None] - offsets, stayed=offsets, log_width=widths)
        for status in over
    )
    return (sudden, *by_way)
