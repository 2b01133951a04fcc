"""The roles of docs/roles.sql, under names of their own: roles belong to a whole server."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

ROLES_SQL = Path(__file__).parents[2] / "docs" / "roles.sql"
_PREFIX = "klarna_sessions_"

Job = Literal["migration", "worker", "reader", "shop"]
JOBS: tuple[Job, ...] = ("migration", "worker", "reader", "shop")


class Roles:
    """What an operator makes of a migrated database by docs/roles.sql; each with a password.

    `script` is that of another release at first.
    """

    def __init__(self, database_url: str, *, script: Path = ROLES_SQL) -> None:
        self._owner_url = database_url
        self._own_prefix = f"{_PREFIX}{uuid4().hex[:12]}_"
        self.passwords = {job: f"canary-{secrets.token_hex(16)}" for job in JOBS}
        self.grant(script)
        with psycopg.connect(database_url, autocommit=True) as connection:
            for job in JOBS:
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                        sql.Identifier(self.name(job)), sql.Literal(self.passwords[job])
                    )
                )

    def grant(self, script: Path = ROLES_SQL) -> None:
        """Run docs/roles.sql, as its head says: any number of times."""
        statements = script.read_text().replace(_PREFIX, self._own_prefix)
        with psycopg.connect(self._owner_url, autocommit=True) as connection:
            connection.execute(statements)

    def name(self, job: Job) -> str:
        """The role's name."""
        return f"{self._own_prefix}{job}"

    def url(self, job: Job, *, password: str | None = None) -> str:
        """The database's URL for the role, with its password or with a wrong one."""
        parts = urlsplit(self._owner_url)
        login = f"{self.name(job)}:{password or self.passwords[job]}"
        return parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}").geturl()

    def drop(self) -> None:
        """Drop the roles and, first, what they own and were granted in the database."""
        with psycopg.connect(self._owner_url, autocommit=True) as connection:
            for job in JOBS:
                name = sql.Identifier(self.name(job))
                connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(name))
                connection.execute(sql.SQL("DROP ROLE {}").format(name))
