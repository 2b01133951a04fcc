"""Status changes between two reads, by expectation maximisation over the possible paths.

A status change without a time of Klarna's happened anywhere between the two reads. A status that
began and ended between them was skipped, as in WAITING, then COMPLETED. Each such change is spread
over its possible paths, direct or via another status, in proportion to their likelihood by the
hazards of the previous round; then the hazards are estimated again. The share of direct changes is
estimated from reads that were close together: elsewhere the data cannot distinguish the two.
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
# Of each sort of change at most this many are spread, with a weight for the others.
_SPREAD_AT_MOST = 5_000
_MOMENTS = 12
# A status may have been skipped if at least this share of the changes leads to it.
_SHARE_OF_PATHS = 0.01
# Reads are close up to this gap; if there are few such, up to the shortest tenth of the gaps.
_CLOSE_SECONDS = 5.0
_CLOSEST_SHARE = 0.1
# A shorter gap counts as none: Klarna's times have milliseconds.
_SHORTEST_GAP_SECONDS = 0.01
_LEAST_HAZARD = 1e-12


def estimate(sojourns: Sojourns, ages: Sequence[float]) -> Counts:
    """Return exits and time stayed by bin; unseen changes count in expected fractions."""
    changes = list(_changes(sojourns))
    unsure = np.concatenate([np.zeros(0, np.int32), *(change.rows for change in changes)])
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
    """The hazards of a round, and their integral up to each bin."""

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
        """Return the log density of leaving for one of these exits at this age, from age 0."""
        bins = bin_of(self.ages, at)
        rates = self.by_exit[status].sum(axis=0)[bins]
        stayed = self.sums[status][bins] + rates * (at - self.ages[bins])
        left: Floats = np.log(self.by_exit[status, exits].sum(axis=0)[bins]) - stayed
        return left


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """One path from a status to another, at several moments: one row per change."""

    # The status passed through, if any, and the time in it.
    via: int | None
    at: Floats
    stayed: Floats
    log_width: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """All uncertain changes of one sort: from one status to another, with or without a time."""

    status: int
    exit_to: int
    rows: Codes
    last_read: Floats
    weight: float
    # Direct changes per change to one of the statuses that may be passed through.
    direct: float
    paths: tuple[_Path, ...]

    def spread(self, counts: Counts, hazards: _Hazards | None) -> None:
        """Count each change in expected fractions; without hazards all paths are equally likely."""
        parts = self._parts(hazards)
        begin = 0
        for path in self.paths:
            end = begin + path.at.shape[1]
            self._count(counts, path, (parts[:, begin:end] * self.weight).ravel())
            begin = end

    def _parts(self, hazards: _Hazards | None) -> Floats:
        if hazards is None:
            return self._first_guess()
        logs = np.concatenate([self._log_density(path, hazards) for path in self.paths], axis=1)
        parts = np.exp(logs - logs.max(axis=1, keepdims=True))
        whole: Floats = parts / parts.sum(axis=1, keepdims=True)
        return whole

    def _first_guess(self) -> Floats:
        """Return equal parts for every path and moment."""
        alike = [np.full(path.at.shape, 1 / path.at.shape[1]) for path in self.paths]
        return np.concatenate(alike, axis=1) / len(self.paths)

    def _log_density(self, path: _Path, hazards: _Hazards) -> Floats:
        if path.via is not None:
            there: Floats = hazards.log_left(self.status, (path.via,), path.at)
            return there + hazards.log_left(path.via, (self.exit_to,), path.stayed) + path.log_width
        others = tuple(other.via for other in self.paths if other.via is not None)
        if not others:
            return hazards.log_left(self.status, (self.exit_to,), path.at) + path.log_width
        return hazards.log_left(self.status, others, path.at) + math.log(self.direct)

    def _count(self, counts: Counts, path: _Path, parts: Floats) -> None:
        at, first = path.at.ravel(), np.repeat(self.last_read, path.at.shape[1])
        counts.add_stays(self.status, first, at, parts)
        if path.via is None:
            counts.add_exits(self.status, self.exit_to, at, parts)
            return
        stayed = path.stayed.ravel()
        counts.add_exits(self.status, path.via, at, parts)
        counts.add_stays(path.via, np.zeros_like(stayed), stayed, parts)
        counts.add_exits(path.via, self.exit_to, stayed, parts)


def _changes(sojourns: Sojourns) -> Iterator[_Change]:
    """Yield every sort of uncertain change with its possible paths."""
    left = sojourns.exits != STAYED
    gaps = np.where(left, sojourns.ended - sojourns.last_read, 0.0)
    exits, close = _exits(sojourns, left), _exits(sojourns, left & _is_close(sojourns, gaps))
    unsure = gaps > _SHORTEST_GAP_SECONDS
    for status in range(len(sojourns.names)):
        for exit_to in range(len(sojourns.names)):
            here = unsure & (sojourns.status == status) & (sojourns.exits == exit_to)
            via = _skippable(exits, close, status, exit_to)
            if via:
                direct = close[status, exit_to] / close[status, list(via)].sum()
                yield from _change(sojourns, here & sojourns.exact, via, direct)
            yield from _change(sojourns, here & ~sojourns.exact, (), 1.0)


def _is_close(sojourns: Sojourns, gaps: Floats) -> NDArray[np.bool_]:
    """Return for each change whether the reads around it are among the closest of its status."""
    close = np.zeros(len(sojourns), np.bool_)
    for status in range(len(sojourns.names)):
        here = (sojourns.status == status) & (sojourns.exits != STAYED)
        if here.any():
            bound = max(_CLOSE_SECONDS, float(np.quantile(gaps[here], _CLOSEST_SHARE)))
            close |= here & (gaps <= bound)
    return close


def _exits(sojourns: Sojourns, which: NDArray[np.bool_]) -> Floats:
    """Return the number of changes by status before and after."""
    size = len(sojourns.names)
    exits = np.zeros((size, size))
    np.add.at(exits, (sojourns.status[which], sojourns.exits[which]), 1)
    return exits


def _skippable(exits: Floats, close: Floats, status: int, exit_to: int) -> tuple[int, ...]:
    """Return the statuses that may lie between two: steps to and from each were seen."""
    steps = np.minimum(
        exits[status] / max(exits[status].sum(), 1),
        exits[:, exit_to] / np.maximum(exits.sum(axis=1), 1),
    )
    usual = np.flatnonzero((steps >= _SHARE_OF_PATHS) & (close[status] > 0))
    return tuple(int(via) for via in usual if via not in {status, exit_to})


def _change(
    sojourns: Sojourns, which: NDArray[np.bool_], via: tuple[int, ...], direct: float
) -> Iterator[_Change]:
    rows = np.flatnonzero(which).astype(np.int32)
    if not len(rows):
        return
    spread = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SPREAD_AT_MOST)).astype(int)]
    last_read, ended = sojourns.last_read[spread], sojourns.ended[spread]
    first = int(spread[0])
    yield _Change(
        status=int(sojourns.status[first]),
        exit_to=int(sojourns.exits[first]),
        rows=rows,
        last_read=last_read,
        weight=len(rows) / len(spread),
        direct=max(direct, _LEAST_HAZARD),
        paths=_paths(last_read, ended, exact=bool(sojourns.exact[first]), via=via),
    )


def _paths(
    last_read: Floats, ended: Floats, *, exact: bool, via: tuple[int, ...]
) -> tuple[_Path, ...]:
    # Denser at the beginning: a status is more often left early.
    edges = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, _MOMENTS)])
    gap = (ended - last_read)[:, None]
    offsets = gap * (edges[1:] + edges[:-1]) / 2
    widths = np.log(gap * np.diff(edges))
    none = np.zeros((len(ended), 1))
    if exact:
        direct = _Path(via=None, at=ended[:, None], stayed=none, log_width=none)
    else:
        at = last_read[:, None] + offsets
        direct = _Path(via=None, at=at, stayed=none, log_width=widths)
    indirect = (
        _Path(via=status, at=ended[:, None] - offsets, stayed=offsets, log_width=widths)
        for status in via
    )
    return (direct, *indirect)
