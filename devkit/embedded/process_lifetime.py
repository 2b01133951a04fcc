"""System calls that Python's library lacks: orphans, shared memory, liveness (Linux)."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
IPC_RMID = 0


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent ends, so that they can be ended too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def children_of(pid: int) -> list[int]:
    """Return the child processes where the system lists them; elsewhere none."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in listed.split()]


def kill_adopted(pids: list[int]) -> None:
    """Kill these processes, and wait for those that have become its children."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def remove_shared_memory(segment: int) -> None:
    """Remove a System V segment, if there is one."""
    ctypes.CDLL(None).shmctl(segment, IPC_RMID, None)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except FileNotFoundError:
        # No /proc on this system, or it ended between the two checks.
        return not Path("/proc/self/stat").exists()
    return stat.rpartition(")")[2].split()[0] not in "ZX"
