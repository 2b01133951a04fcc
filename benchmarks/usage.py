"""CPU time and memory of processes, by role, with all their children."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

MEBIBYTE = 1024 * 1024


class Usage:
    """`pids` has the first processes of each role, such as `worker` or `postgres`."""

    def __init__(self, pids: Mapping[str, Sequence[int]]) -> None:
        self._roots = {role: [psutil.Process(pid) for pid in some] for role, some in pids.items()}

    def cpu_seconds(self) -> dict[str, float]:
        """Return user and system seconds by role, ended children included."""
        return {role: sum(map(_cpu, _trees(roots))) for role, roots in self._roots.items()}

    def resident(self) -> dict[str, float]:
        """Return MiB by role: the resident memory of the largest process, as `ps` shows it."""
        return {role: max(map(_resident, roots)) for role, roots in self._roots.items()}

    def peak(self) -> dict[str, float]:
        """Return MiB by role: the peak resident memory of the largest process."""
        return {role: max(map(_peak, roots)) for role, roots in self._roots.items()}

    def together(self, role: str) -> float:
        """Return MiB of all processes of a role; shared memory counts once (PSS)."""
        return sum(map(_proportional, _trees(self._roots[role])))


def _trees(roots: Sequence[psutil.Process]) -> Iterator[psutil.Process]:
    for root in roots:
        yield root
        yield from root.children(recursive=True)


def _cpu(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        return sum(process.cpu_times()[:4])
    return 0.0


def _resident(process: psutil.Process) -> float:
    return process.memory_info().rss / MEBIBYTE


def _peak(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _proportional(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.memory_full_info().pss / MEBIBYTE
    return 0.0
