"""Recorded status changes, as stays to estimate from and as traces to replay."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from devkit.simulation.sojourns import STAYED, Codes, Floats, Sojourns
from devkit.simulation.traces import Trace, is_final
from worker.adapters.postgres.reports.history import NEVER, History
from worker.domain.session import KP_COMPLETE

_MICROSECOND = 1e-6


def sojourns_of_history(history: History) -> Sojourns:
    """Return every stay of the sessions in a status, but for the final ones.

    Ages are the worker's: since Klarna's time of the change, or since it was first seen. A change
    without a time of Klarna's lies between the two reads around it.
    """
    changes = history.changes
    names, codes = _final_codes(history)
    is_last = _is_last(changes)
    is_first = np.roll(is_last, 1)
    goes_on = np.flatnonzero(~is_last)
    began, seen = changes["occurred_at"], changes["observed_at"]
    ended = np.maximum(changes["last_read_at"], seen)
    ended[goes_on] = began[goes_on + 1]
    last_read = ended.copy()
    before = changes["previous_read_at"][goes_on + 1]
    last_read[goes_on] = np.where(before == NEVER, seen[goes_on], before)
    exits = np.full(len(changes), STAYED, np.int32)
    exits[goes_on] = codes[goes_on + 1]
    exact = np.ones(len(changes), np.bool_)
    exact[goes_on] = began[goes_on + 1] < seen[goes_on + 1]
    stays = ~(is_last & (changes["settled"] == 1))
    until = _ages(ended, began)[stays]
    entered = np.where(is_first, _ages(seen, began), 0.0)[stays]
    return Sojourns(
        names=names,
        status=codes[stays],
        entered=np.minimum(entered, until),
        last_read=np.minimum(_ages(last_read, began)[stays], until),
        ended=until,
        exits=exits[stays],
        exact=exact[stays],
    )


def ended_sessions(history: History) -> Codes:
    """Return the index of the first change of each session that has ended.

    Only these are known completely; leaving out open ones by age does not favour short ones.
    """
    changes = history.changes
    begins = np.roll(_is_last(changes), 1) & (changes["over"] == 1)
    return np.flatnonzero(begins).astype(np.int32)


def traces_of_history(history: History, *, most: int) -> Iterator[Trace]:
    """Yield traces of ended sessions without their ids, `most` at most, evenly over the history.

    A status that began and ended between two reads is not in them.
    """
    begins = ended_sessions(history)
    names, codes = _final_codes(history)
    bounds = np.append(np.flatnonzero(np.roll(_is_last(history.changes), 1)), len(codes))
    if len(begins) > most:
        begins = begins[np.arange(most) * len(begins) // most]
    ends = bounds[np.searchsorted(bounds, begins, side="right")]
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        trace = _trace(history.changes[begin:end], [names[code] for code in codes[begin:end]])
        if trace is not None:
            yield trace


def _trace(changes: NDArray[np.void], statuses: list[str]) -> Trace | None:
    since = _ages(changes["occurred_at"], changes["occurred_at"][0])
    at = np.maximum.accumulate(since).round(3).tolist()
    lifetime = round(float(_ages(changes["ends_at"][:1], changes["occurred_at"][:1])[0]), 3)
    if not at[-1] < lifetime:
        return None
    return Trace(lifetime, tuple(zip(at, statuses, strict=True)))


def _final_codes(history: History) -> tuple[tuple[str, ...], Codes]:
    """Return the statuses and their codes; an unknown status that ended a session is `complete`."""
    names, changes = history.statuses, history.changes
    codes = changes["status"].astype(np.int32)
    open_names = np.array([not is_final(name) for name in names])
    renamed = _is_last(changes) & (changes["settled"] == 1) & open_names[codes]
    if renamed.any() and KP_COMPLETE not in names:
        names = (*names, KP_COMPLETE)
    if renamed.any():
        codes[renamed] = names.index(KP_COMPLETE)
    return names, codes


def _is_last(changes: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return for each change whether it is the last of its session."""
    session = changes["session"]
    return np.append(session[1:] != session[:-1], [True])[: len(session)]


def _ages(moments: NDArray[np.int64], began: NDArray[np.int64]) -> Floats:
    """Return seconds, never negative: Klarna's times are not always in order."""
    ages: Floats = np.maximum(moments - began, 0) * _MICROSECOND
    return ages
