"""The texts that a running deployment stores or shows, by location."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import redis
from psycopg import sql

from devkit.demo.secret_scan import value_of

Location = tuple[str, str]


def redis_locations(client: redis.Redis) -> Iterator[Location]:
    """Every key with its value; the bodies of task messages decoded as well."""
    for key in client.scan_iter():
        yield f"Redis key {key.decode()}", "\n".join([repr(key), *_texts(value_of(client, key))])


def database_locations(url: str) -> Iterator[Location]:
    """Every row of every table as text, and the statements that connections ran last."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, name in tables:
            rows = connection.execute(
                sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(schema, name))
            )
            yield f"table {name}", "\n".join(text for (text,) in rows)
        statements = connection.execute("SELECT query FROM pg_stat_activity")
        yield "pg_stat_activity", "\n".join(text or "" for (text,) in statements)


def log_locations(folder: Path) -> Iterator[Location]:
    """The output of every process."""
    for file in sorted(folder.glob("*.log")):
        yield file.name, file.read_text(errors="replace")


def command_lines() -> Iterator[Location]:
    """The arguments of every process on this machine, which any user can list."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            shown = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if shown:
            yield f"process {folder.name}", shown.replace(b"\0", b" ").decode(errors="replace")


def _texts(value: object) -> Iterator[str]:
    """Every text in `value`, with what it holds when it is a message: kombu's body is base64."""
    if isinstance(value, (bytes, str)):
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        yield text
        yield from _message_bodies(text)
    elif isinstance(value, dict):
        for name, held in value.items():
            yield from _texts(name)
            yield from _texts(held)
    elif isinstance(value, (list, tuple, set)):
        for held in value:
            yield from _texts(held)


def _message_bodies(text: str) -> Iterator[str]:
    try:
        document = json.loads(text)
    except ValueError:
        return
    # A waiting message; or one not yet acknowledged, with its exchange and its queue behind it.
    message = document[0] if isinstance(document, list) and document else document
    if isinstance(message, dict) and isinstance(message.get("body"), str):
        yield base64.b64decode(message["body"]).decode(errors="replace")
