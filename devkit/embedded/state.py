"""The state folder as both sides see it: its lock, who runs in it, and its end.

The lock belongs to the guard: the kernel frees it when the guard is gone, however that was.
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
    """A private folder in that one; in the system's temporary one where None is given.

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
    """The state folder at `path`, made if need be; only its owner may list it."""
    path = path.resolve()
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o700 if server_account() is None else 0o711)
    return path


def take_lock(state_dir: Path) -> int | None:
    """The lock's file descriptor, to be inherited by the guard; None if another guard has it."""
    lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def publish_running(state_dir: Path, running: Running) -> None:
    """Tell a second process what it can attach to."""
    new = state_dir / "running.new"
    new.touch(mode=0o600)
    new.write_text(running.to_json())
    new.rename(state_dir / "running.json")


def read_running(state_dir: Path) -> Running | None:
    """What runs here; None if nothing was published, or its guard is gone."""
    try:
        running = Running.from_json((state_dir / "running.json").read_text())
    except FileNotFoundError:
        return None
    return running if is_alive(running.pids["guard"]) else None


def forget_running(state_dir: Path) -> None:
    """Let nobody attach any more."""
    (state_dir / "running.json").unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder in which a dying server may still write."""
    for _ in polls(REMOVE_SECONDS, pause=0.05):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
