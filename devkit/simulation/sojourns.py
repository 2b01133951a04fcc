"""Stays of payment sessions in a status, as arrays to estimate hazards from.

It reads no database and no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from devkit.simulation.traces import Trace, is_final

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]

# The session was still in the status when last read.
STAYED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sojourns:
    """One element per stay; ages are seconds since the status began, as the worker counts them.

    A stay counts from `entered` on: from 0, or from the first read if the session was tracked
    later. `last_read` is the age at the last read that showed the status. It changed to
    `exits` (an index of `names`, or STAYED) at the age `ended`; where not `exact`, somewhere after
    `last_read` and not after `ended`.
    """

    names: tuple[str, ...]
    status: Codes
    entered: Floats
    last_read: Floats
    ended: Floats
    exits: Codes
    exact: NDArray[np.bool_]

    @property
    def finals(self) -> frozenset[int]:
        """The codes of the final statuses among `names`."""
        return frozenset(code for code, name in enumerate(self.names) if is_final(name))

    def __len__(self) -> int:
        return len(self.status)


def sojourns_of_traces(traces: Iterable[Trace]) -> Sojourns:
    """Return every stay of the traces; all times are exact."""
    codes: dict[str, int] = {}
    rows: list[tuple[int, float, int]] = []
    for trace in traces:
        for (since, status), (until, after) in pairwise(trace.statuses):
            rows.append((_code(codes, status), until - since, _code(codes, after)))
        since, last = trace.statuses[-1]
        if not is_final(last):
            rows.append((_code(codes, last), trace.lifetime - since, STAYED))
    status, ended, exits = _columns(rows)
    return Sojourns(
        names=tuple(codes),
        status=status.astype(np.int32),
        entered=np.zeros(len(rows)),
        last_read=ended,
        ended=ended,
        exits=exits.astype(np.int32),
        exact=np.ones(len(rows), dtype=np.bool_),
    )


def _code(codes: dict[str, int], status: str) -> int:
    return codes.setdefault(status, len(codes))


def _columns(rows: Sequence[tuple[int, float, int]]) -> Floats:
    return np.array(rows, dtype=np.float64).reshape(-1, 3).T
