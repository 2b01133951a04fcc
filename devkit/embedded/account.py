"""The account the servers run as: Postgres refuses root, so root uses an unprivileged one.

It changes no permissions of folders that it did not create.
"""

import os
import pwd
from pathlib import Path
from typing import Any, NamedTuple

from devkit.embedded.contract import EmbeddedServerError

OTHERS_MAY_ENTER = 0o001
CANDIDATES = ("postgres", "nobody")


class Account(NamedTuple):
    """An unprivileged account of the system."""

    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """Return the account the servers run as; None means that of this process.

    Raises:
        EmbeddedServerError: this is root and there is no unprivileged account.
    """
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerError(
        "Postgres does not run as root, and there is no account named postgres or nobody:"
        " start as another user, or set DATABASE_URL and REDIS_URL"
    )


def identity(account: Account | None) -> dict[str, Any]:
    """Return the options of `subprocess.Popen` that change to the account."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def own(path: Path, account: Account | None) -> None:
    """Give a file or folder to the account."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def is_reachable(path: Path) -> bool:
    """Return whether any account may enter the folder (or execute the file) through all parents.

    Access lists are ignored: where one would permit it, the cost is a copy.
    """
    path = path.resolve()
    return all(step.stat().st_mode & OTHERS_MAY_ENTER for step in (path, *path.parents))
