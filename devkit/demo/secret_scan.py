"""Looks for authorization tokens in logs, Redis and the database, where none may be."""

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
    """Return one line per location of a token; the event stream may contain them."""
    texts = [
        *_texts_of_logs(logs),
        *_texts_of_database(connection),
        *_texts_of_redis(client, but=stream),
    ]
    return [
        f"no token is stored but in its encrypted column and its event: found in {location}"
        for location, content in texts
        if any(token in content for token in tokens)
    ]


def _texts_of_logs(folder: Path) -> Iterator[tuple[str, str]]:
    for file in folder.iterdir():
        yield file.name, file.read_text(errors="replace")


def _texts_of_database(connection: Connection) -> Iterator[tuple[str, str]]:
    for table in connection.execute(_TABLES).scalars().all():
        rows = connection.execute(text(f'SELECT "{table}"::text FROM "{table}"'))  # noqa: S608
        yield f"table {table}", "\n".join(rows.scalars())


def _texts_of_redis(client: redis.Redis, *, but: str) -> Iterator[tuple[str, str]]:
    for key in client.scan_iter():
        if key != but.encode():
            yield f"Redis key {key.decode()}", repr(value_of(client, key))


def value_of(client: Any, key: bytes) -> object:  # noqa: ANN401 - redis-py mixes sync and async
    """Return the whole value of a Redis key, of whatever type."""
    readers = {
        b"string": lambda: client.get(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"hash": lambda: client.hgetall(key),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1),
        b"stream": lambda: client.xrange(key),
    }
    return readers[client.type(key)]()
