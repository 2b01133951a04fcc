"""Migrated databases: one template made by Alembic, a copy of it for each test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

from tests.support.processes import BIN

MEMORY = Path("/dev/shm")  # noqa: S108 - the servers make a private folder there
ROOM_BYTES = 4 * 1024**3


def memory() -> Path | None:
    """Return a file system in memory that has room for all test processes' servers, or None.

    Hundreds of databases come and go, 300 files each. Before ext4 takes an inode it looks at each
    one that was freed in the last minutes: a database then costs ten times as much.
    """
    if not MEMORY.is_dir():
        return None
    found = os.statvfs(MEMORY)
    # Root's servers may be programs that were copied into their folder.
    may_run = not found.f_flag & os.ST_NOEXEC
    return MEMORY if may_run and found.f_bavail * found.f_frsize > ROOM_BYTES else None


class Databases:
    """Databases on one server; `server_url` may name any database of it."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        # One connection for all: making and dropping needs no login each.
        self._connection = psycopg.connect(server_url, autocommit=True)
        self._template = f"template_{uuid4().hex}"
        self._made: list[str] = []
        self._create(self._template, template="template1")
        migrate(self._url(self._template))

    def create(self) -> str:
        """Return the URL of a fresh, migrated, empty database."""
        name = f"test_{uuid4().hex}"
        self._create(name, template=self._template)
        return self._url(name)

    def create_empty(self) -> str:
        """Return the URL of a database without any table."""
        name = f"test_{uuid4().hex}"
        self._create(name, template="template1")
        return self._url(name)

    def create_latin1(self) -> str:
        """Return the URL of a migrated database that cannot store every character."""
        name = f"test_{uuid4().hex}"
        self._execute(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
            name,
        )
        self._made.append(name)
        migrate(self._url(name))
        return self._url(name)

    def drop(self, url: str) -> None:
        """Drop a database, even while clients are connected."""
        name = url.rpartition("/")[2]
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
        self._made.remove(name)

    def close(self) -> None:
        """Drop everything that was made."""
        for name in list(self._made):
            self.drop(self._url(name))
        self._connection.close()

    def _create(self, name: str, *, template: str) -> None:
        # Files are copied as they are, not through the write-ahead log; until 15 they always were.
        by_file = " STRATEGY file_copy" * (self._connection.info.server_version >= 150_000)
        self._execute(f"CREATE DATABASE {{}} TEMPLATE {{}}{by_file}", name, template)
        self._made.append(name)

    def _url(self, name: str) -> str:
        return f"{self._server_url.rpartition('/')[0]}/{name}"

    def _execute(self, statement: str, *names: str) -> None:
        self._connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def migrate(url: str, target: str = "head", command: str = "upgrade") -> None:
    """Run Alembic as a deployment does."""
    subprocess.run(
        [BIN / "alembic", command, target],
        env={**os.environ, "DATABASE_URL": url},
        check=True,
        capture_output=True,
    )
