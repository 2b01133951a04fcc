"""The state folder: its lock, what runs in it, its removal.

The supervisor holds the lock: the kernel frees it however the supervisor ends.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from devkit.embedded.account import is_reachable, server_account
from devkit.embedded.contract import EmbeddedServerError, Running
from devkit.embedded.process_lifetime import is_alive
from devkit.waiting import polls

REMOVE_SECONDS = 10.0


def new_ephemeral_folder(within: Path | None) -> Path:
    """Create a private folder in `within`, or in the system's temporary folder.

    Raises:
        EmbeddedServerError: this is root, and the servers' account can reach no such folder.
    """
    if server_account() is None:
        return Path(tempfile.mkdtemp(prefix="session-worker-", dir=within))
    for parent in (within or tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes it private
        if is_reachable(Path(parent)):
            folder = Path(tempfile.mkdtemp(prefix="session-worker-", dir=parent))
            folder.chmod(0o711)
            return folder
    raise EmbeddedServerError("no temporary folder that an unprivileged account can reach")


def open_kept_folder(path: Path) -> Path:
    """Return the state folder at `path`; create it if it is missing. Only its owner may list it."""
    path = path.resolve()
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o700 if server_account() is None else 0o711)
    return path


def take_lock(state_dir: Path) -> int | None:
    """Return the lock's file descriptor, for the supervisor; None if another one holds it."""
    lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def publish_running(state_dir: Path, running: Running) -> None:
    """Write down what a second process can attach to."""
    new = state_dir / "running.new"
    new.touch(mode=0o600)
    new.write_text(running.to_json())
    new.rename(state_dir / "running.json")


def read_running(state_dir: Path) -> Running | None:
    """Return what runs here; None if nothing was published or its supervisor has ended."""
    try:
        running = Running.from_json((state_dir / "running.json").read_text())
    except FileNotFoundError:
        return None
    return running if is_alive(running.pids["supervisor"]) else None


def forget_running(state_dir: Path) -> None:
    """Remove what a second process would attach to."""
    (state_dir / "running.json").unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder; a server that is ending may still write to it."""
    for _ in polls(REMOVE_SECONDS, pause=0.05):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
