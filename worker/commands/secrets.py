"""rotate-keys and erase: stored tokens and personal data."""

from __future__ import annotations

import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rich.progress import track as progress
from sqlalchemy import Engine, create_engine, text

from config.settings import Settings, load
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.conditions import pending
from worker.adapters.postgres.pgbouncer import open_engine
from worker.adapters.postgres.tokens import count_tokens, rotate
from worker.commands.output import counted, fail, print_json, say
from worker.commands.reading import database_faults_in_one_line
from worker.services.relay import DELIVERY_LEASE

# The lock keeps workers from claiming a delivery; one that is claimed may still be running.
_LOCK = text("SELECT FROM payment_sessions WHERE session_id = :session_id FOR UPDATE")
_UNDER_WAY = text(f"""
    SELECT EXTRACT(epoch FROM next_attempt_at - clock_timestamp())::float AS seconds
    FROM outbox_deliveries AS d
    WHERE d.session_id = :session_id AND d.attempts > 0 AND {pending("d")}
    FOR UPDATE
""")  # noqa: S608 - constants of another module
_ERASE = text("DELETE FROM payment_sessions WHERE session_id = :session_id")
ENTRIES_PER_READ = 1000
REDIS_TIMEOUT_SECONDS = 5


def rotate_keys(*, as_json: bool) -> None:
    """Re-encrypt every stored token with the first key."""
    settings = load(Settings)
    cipher = FernetTokenCipher([k.get_secret_value() for k in settings.token_encryption_keys])
    engine = _engine(settings)
    unreadable: list[str] = []
    try:
        with database_faults_in_one_line():
            total = count_tokens(engine)
            done = 0
            for batch in progress(rotate(engine, cipher), "Encrypting", disable=as_json):
                done += batch.looked_at - len(batch.unreadable)
                unreadable += batch.unreadable
    finally:
        engine.dispose()
    if as_json:
        print_json({"encrypted": done, "unreadable": unreadable})
    if unreadable:
        some = ", ".join(unreadable[:3])
        fail(
            f"TOKEN_ENCRYPTION_KEYS: no key decrypts {len(unreadable)} of {total} tokens "
            f"(sessions {some}); they are unchanged: add the key they were encrypted with."
        )
    if not as_json:
        say(f"{counted(done, 'token')} encrypted with the first key.")


def erase(session_id: str, *, as_json: bool) -> None:
    """Delete a payment session's rows, and its events from the stream."""
    settings = load(Settings)
    rows, under_way = _erase_rows(settings, session_id)
    try:
        with _stream_server(settings) as client:
            entries = _erase_from_stream(client, settings.event_stream, session_id)
            if under_way:
                # A delivery that was under way may have added an event meanwhile.
                time.sleep(under_way)
                entries += _erase_from_stream(client, settings.event_stream, session_id)
    except redis.RedisError:
        fail(
            "REDIS_URL: Redis cannot be reached, its stream may still have events: run erase again."
        )
    if as_json:
        print_json({"session_id": session_id, "sessions": rows, "stream_entries": entries})
    elif not rows and not entries:
        fail(f"{session_id} is not stored; nothing to delete.")
    else:
        say(f"Deleted {session_id}, and {counted(entries, 'event')} from the stream.")


def _erase_rows(settings: Settings, session_id: str) -> tuple[int, float]:
    """Delete them; return the number of sessions, and how long a delivery may still be running."""
    engine = _engine(settings)
    wanted = {"session_id": session_id}
    try:
        with database_faults_in_one_line(), engine.begin() as connection:
            connection.execute(_LOCK, wanted)
            seconds = connection.execute(_UNDER_WAY, wanted).scalars().all()
            rows = connection.execute(_ERASE, wanted).rowcount
    finally:
        engine.dispose()
    # A failed delivery that waits longer for its next attempt is not running.
    longest = DELIVERY_LEASE.total_seconds()
    return rows, max(0.0, *(min(wait, longest) for wait in seconds), 0.0)


def _stream_server(settings: Settings) -> redis.Redis:
    """Return a client that gives up on a silent server after two tries."""
    return redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )


def _erase_from_stream(client: Any, stream: str, session_id: str) -> int:  # noqa: ANN401 - redis-py types its results as awaitable or not
    erased, start = 0, "-"
    while entries := client.xrange(stream, start, "+", count=ENTRIES_PER_READ):
        subject = session_id.encode()
        own = [entry_id for entry_id, fields in entries if fields.get(b"subject") == subject]
        if own:
            erased += client.xdel(stream, *own)
        start = f"({entries[-1][0].decode()}"
    return erased


def _engine(settings: Settings) -> Engine:
    return open_engine(create_engine, settings.database_url.get_secret_value())
