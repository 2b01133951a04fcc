"""The folder of the servers: data, programs copied for their account, the password.

Only the supervisor uses it; it holds the lock of the state folder.
"""

import dataclasses
import os
import secrets
import shutil
import zlib
from pathlib import Path

from devkit.embedded.account import Account, is_reachable, own, server_account
from devkit.embedded.contract import Binary, EmbeddedServerError

OTHERS_MAY_READ = 0o004
# For root with a state folder that the servers' account cannot reach, as below /root. Not
# /var/tmp: systems empty that of old files, of a database too.
ROOTS_OWN_HOMES = Path("/var/lib/klarna-session-worker")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataDir:
    """Folders and account that the servers of one state folder share.

    Attributes:
        home: holds data, copied programs and the password.
        logs: holds one log per server.
        account: the account the servers run as; None means that of this process.
        ephemeral: data need not survive a crash of the machine.
        password: of both servers.
    """

    home: Path
    logs: Path
    account: Account | None
    ephemeral: bool
    password: str


def open_data_dir(state_dir: Path, *, ephemeral: bool) -> DataDir:
    """Return the data folder of this state folder; create it if it is missing."""
    account = server_account()
    home = _home(state_dir, account)
    return DataDir(
        home=home,
        logs=state_dir,
        account=account,
        ephemeral=ephemeral,
        password=_password(home / "password"),
    )


def new_folder(path: Path, account: Account | None) -> None:
    """Create a folder that only the account may enter."""
    path.mkdir(mode=0o700)
    own(path, account)


def reachable_program(binary: Binary, data_dir: DataDir) -> Path:
    """Return a path of the program that the servers' account can run; copy it if it must be.

    Raises:
        EmbeddedServerError: the account cannot run it and it cannot be copied.
    """
    program = Path(binary.path)
    if data_dir.account is None or is_reachable(program):
        return program
    if not binary.parts:
        raise EmbeddedServerError(f"the account {data_dir.account.name} may not run {program}")
    copies = data_dir.home / "programs"
    copy = copies / _key(program)
    if not copy.exists():
        shutil.rmtree(copies / program.name, ignore_errors=True)
        _copy(binary, copies / program.name)
        # The copy gets its name once it is complete.
        (copies / program.name).rename(copy)
    return copy / program.relative_to(binary.root)


def _home(state_dir: Path, account: Account | None) -> Path:
    if account is None or is_reachable(state_dir):
        return state_dir
    home = ROOTS_OWN_HOMES / f"{zlib.crc32(os.fsencode(state_dir)):08x}"
    for folder in (ROOTS_OWN_HOMES, home):
        folder.mkdir(exist_ok=True, parents=True)
        folder.chmod(0o711)
    sign = state_dir / "data-of-root"
    if not sign.is_symlink():
        sign.symlink_to(home)
    return home


def _password(path: Path) -> str:
    if not path.exists():
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(secrets.token_urlsafe(24))
        new.rename(path)
    return path.read_text()


def _key(program: Path) -> str:
    made = program.stat().st_mtime_ns
    return f"{program.name}-{zlib.crc32(f'{program}:{made}'.encode()):08x}"


def _copy(binary: Binary, target: Path) -> None:
    for part in binary.parts:
        source = Path(binary.root, part)
        shutil.copytree(source, target / part, symlinks=True, copy_function=_link_or_copy)
    for folder, _, _ in os.walk(target.parent):
        Path(folder).chmod(0o755)


def _link_or_copy(source: str, target: str) -> None:
    """Link where permissions allow it, which takes a tenth of the time; else copy."""
    if Path(source).stat().st_mode & OTHERS_MAY_READ:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
    else:
        shutil.copyfile(source, target)
        Path(target).chmod(0o755)
