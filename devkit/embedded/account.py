"""The account the servers run as: Postgres refuses root, so root borrows an unprivileged one.

It changes no permission of a folder it did not make.
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
    """Whom the servers run as; None means as this process.

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
    """What `subprocess.Popen` needs to become the account."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def own(path: Path, account: Account | None) -> None:
    """Give a file or folder to the account."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def is_reachable(path: Path) -> bool:
    """Whether any account may enter the folder (or execute the file) by all its parents.

    It may say no where an access list would permit: the price is a copy, not a failure.
    """
    path = path.resolve()
    return all(step.stat().st_mode & OTHERS_MAY_ENTER for step in (path, *path.parents))
