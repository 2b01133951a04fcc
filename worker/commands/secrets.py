"""rotate-keys and erase: stored tokens, refused messages and personal data."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rich.progress import track as progress
from sqlalchemy import Engine, text

from config.settings import Settings, load
from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.conditions import pending
from worker.adapters.postgres.refused import by_hand
from worker.adapters.postgres.refused.by_hand import ErasedMessages
from worker.adapters.postgres.tokens import count_batches, rotate
from worker.commands.output import counted, fail, print_json, say
from worker.commands.reading import writing
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


class _Rotation(NamedTuple):
    """What was encrypted, and what no key decrypts: sessions, and refused messages."""

    tokens: int
    arguments: int
    sessions: list[str]
    messages: list[int]


def rotate_keys(*, as_json: bool) -> None:
    """Re-encrypt every stored token, and the arguments of refused messages, with the first key."""
    settings = load(Settings)
    cipher = _cipher(settings)
    with writing(settings) as engine:
        done = _rotate(engine, cipher, silent=as_json)
    if as_json:
        print_json(
            {
                "encrypted": done.tokens,
                "unreadable": done.sessions,
                "refused_encrypted": done.arguments,
                "refused_unreadable": done.messages,
            }
        )
    if done.sessions or done.messages:
        fail(_unreadable(done))
    if not as_json:
        messages = counted(done.arguments, "refused message")
        say(f"{counted(done.tokens, 'token')} and {messages} encrypted with the first key.")


def _rotate(engine: Engine, cipher: FernetTokenCipher, *, silent: bool) -> _Rotation:
    tokens, arguments = 0, 0
    sessions: list[str] = []
    messages: list[int] = []
    total = count_batches(engine)
    for batch in progress(rotate(engine, cipher), "Encrypting", total=total, disable=silent):
        tokens += batch.looked_at - len(batch.unreadable)
        sessions += batch.unreadable
    for kept in by_hand.rotate(engine, cipher):
        arguments += kept.encrypted
        messages += kept.unreadable
    return _Rotation(tokens, arguments, sessions, messages)


def _unreadable(done: _Rotation) -> str:
    parts = []
    if done.sessions:
        some = ", ".join(done.sessions[:3])
        number = len(done.sessions)
        parts.append(f"{number} of {number + done.tokens} tokens (sessions {some})")
    if done.messages:
        some = ", ".join(map(str, done.messages[:3]))
        number = len(done.messages)
        parts.append(f"{number} of {number + done.arguments} refused messages (ids {some})")
    return (
        f"TOKEN_ENCRYPTION_KEYS: no key decrypts {' and '.join(parts)};"
        " they are unchanged: add the key they were encrypted with."
    )


class _Erased(NamedTuple):
    """What was deleted, and for how many seconds a delivery may still be running."""

    sessions: int
    messages: ErasedMessages
    under_way: float


def erase(session_id: str, *, as_json: bool) -> None:
    """Delete a payment session's rows, refused messages that name it, and its stream's events."""
    settings = load(Settings)
    erased = _erase_rows(settings, session_id)
    try:
        with _stream_server(settings) as client:
            entries = _erase_from_stream(client, settings.event_stream, session_id)
            if erased.under_way:
                # A delivery that was under way may have added an event meanwhile.
                time.sleep(erased.under_way)
                entries += _erase_from_stream(client, settings.event_stream, session_id)
    except redis.RedisError:
        fail(
            "REDIS_URL: Redis cannot be reached, its stream may still have events: run erase again."
        )
    if as_json:
        deleted = {"session_id": session_id, "sessions": erased.sessions}
        print_json(deleted | asdict(erased.messages) | {"stream_entries": entries})
    elif not any((erased.sessions, *asdict(erased.messages).values(), entries)):
        fail(f"{session_id} is not stored; nothing to delete.")
    else:
        messages = counted(erased.messages.refused_messages, "refused message")
        events = counted(entries, "event")
        say(f"Deleted {session_id}, {messages} that name it, and {events} from the stream.")


def _erase_rows(settings: Settings, session_id: str) -> _Erased:
    wanted = {"session_id": session_id}
    with writing(settings) as engine, engine.begin() as connection:
        connection.execute(_LOCK, wanted)
        seconds = connection.execute(_UNDER_WAY, wanted).scalars().all()
        messages = by_hand.erase(connection, session_id, _cipher(settings).hashes)
        rows = connection.execute(_ERASE, wanted).rowcount
    # A failed delivery that waits longer for its next attempt is not running.
    longest = DELIVERY_LEASE.total_seconds()
    under_way = max(0.0, *(min(wait, longest) for wait in seconds), 0.0)
    return _Erased(rows, messages, under_way)


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


def _cipher(settings: Settings) -> FernetTokenCipher:
    return FernetTokenCipher([k.get_secret_value() for k in settings.token_encryption_keys])
