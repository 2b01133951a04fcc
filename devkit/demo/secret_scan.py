"""Looks for authorization tokens where they must not be: logs, Redis, plain columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Connection, text

_TABLES = text("""
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
""")


def leaked_tokens(
    tokens: Collection[str],
    *,
    connection: Connection,
    client: redis.Redis,
    stream: str,
    logs: Path,
) -> list[str]:
    """Return one line per place that shows a token; the event stream is given them on purpose."""
    places = [
        *_texts_of_logs(logs),
        *_texts_of_database(connection),
        *_texts_of_redis(client, given=stream),
    ]
    return [
        f"no token stands outside of its encrypted column and its event: found in {place}"
        for place, content in places
        if any(token in content for token in tokens)
    ]


def _texts_of_logs(folder: Path) -> Iterator[tuple[str, str]]:
    for file in folder.iterdir():
        yield file.name, file.read_text(errors="replace")


def _texts_of_database(connection: Connection) -> Iterator[tuple[str, str]]:
    for table in connection.execute(_TABLES).scalars().all():
        rows = connection.execute(text(f'SELECT "{table}"::text FROM "{table}"'))  # noqa: S608
        yield f"table {table}", "\n".join(rows.scalars())


def _texts_of_redis(client: redis.Redis, *, given: str) -> Iterator[tuple[str, str]]:
    for key in client.scan_iter():
        if key != given.encode():
            yield f"Redis key {key.decode()}", repr(_value(client, key))


def _value(client: Any, key: bytes) -> object:  # noqa: ANN401 - redis-py's types are of two minds
    readers = {
        b"string": lambda: client.get(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"hash": lambda: client.hgetall(key),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1),
        b"stream": lambda: client.xrange(key),
    }
    return readers[client.type(key)]()
