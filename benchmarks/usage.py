"""What processes use: CPU time and memory, of each role with all its children."""

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
        """User and system time by role, of children that have ended, too."""
        return {role: sum(map(_cpu, _trees(roots))) for role, roots in self._roots.items()}

    def resident(self) -> dict[str, float]:
        """MiB by role: the largest process's resident memory, as `ps` shows it."""
        return {role: max(map(_resident, roots)) for role, roots in self._roots.items()}

    def peak(self) -> dict[str, float]:
        """MiB by role: the most that the largest process has had resident, ever."""
        return {role: max(map(_peak, roots)) for role, roots in self._roots.items()}

    def together(self, role: str) -> float:
        """MiB of all the role's processes; what several share counts once (PSS)."""
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
