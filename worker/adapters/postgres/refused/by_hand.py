"""Refused messages retried, dropped, re-encrypted or erased by hand.

Blocking. A worker tries what is due; nothing is taken in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, TextClause, text

from worker.adapters.crypto import FernetTokenCipher
from worker.adapters.postgres.literals import interval, literal
from worker.adapters.postgres.reports.refused import MATCHES, RefusedFilter
from worker.adapters.postgres.tokens import BATCH
from worker.domain.refused_messages import Resolution, ids_in
from worker.services.errors import DeliveryError
from worker.services.refused_messages import TRY_LEASE

_CHOSEN = text(f"""
    SELECT refused_id, arguments IS NOT NULL AS has_arguments
    FROM refused_messages WHERE {MATCHES} ORDER BY refused_id
""")  # noqa: S608 - constants of another module
# Never before the lease of a try that may be under way is over: a message is tried once at a time.
_RETRY = text(f"""
    UPDATE refused_messages
    SET next_try_at = CASE
        WHEN next_try_at IS NULL THEN clock_timestamp()
        ELSE LEAST(next_try_at, GREATEST(
            clock_timestamp(), last_tried_at + {interval(TRY_LEASE)}
        ))
    END
    WHERE refused_id = ANY(CAST(:refused_ids AS bigint[]))
        AND resolved_at IS NULL AND arguments IS NOT NULL
""")  # noqa: S608 - a constant of the service
_DROP = text(f"""
    UPDATE refused_messages
    SET resolution = {literal(Resolution.DROPPED)}, resolved_at = clock_timestamp(),
        arguments = NULL, argument_hashes = '{{}}', next_try_at = NULL
    WHERE refused_id = ANY(CAST(:refused_ids AS bigint[])) AND resolved_at IS NULL
""")  # noqa: S608 - a constant of the domain
_NEXT = text("""
    SELECT refused_id, arguments FROM refused_messages
    WHERE arguments IS NOT NULL AND refused_id > :after
    ORDER BY refused_id
    LIMIT :limit
""")
_REPLACE = text("""
    UPDATE refused_messages
    SET arguments = :new, argument_hashes = CAST(:hashes AS bytea[])
    WHERE refused_id = :refused_id AND arguments = :old
""")
_ERASE = text("""
    DELETE FROM refused_messages
    WHERE session_id = :session_id OR argument_hashes && CAST(:hashes AS bytea[])
""")
_ERASE_CONFIRMATION = text("DELETE FROM early_confirmations WHERE session_id = :session_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Unresolved messages; those in `without_arguments` can be dropped, and not retried."""

    refused_ids: Sequence[int]
    without_arguments: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedArguments:
    """One batch of `rotate`; `unreadable` are the messages that no key decrypts."""

    encrypted: int
    unreadable: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedMessages:
    """What `erase` deleted."""

    refused_messages: int
    early_confirmations: int


def choose(engine: Engine, wanted: RefusedFilter) -> Chosen:
    """Return the unresolved messages that match."""
    with engine.connect() as connection:
        rows = connection.execute(_CHOSEN, wanted.values()).all()
    return Chosen(
        refused_ids=[row.refused_id for row in rows],
        without_arguments=[row.refused_id for row in rows if not row.has_arguments],
    )


def retry(engine: Engine, refused_ids: Sequence[int]) -> int:
    """Make messages due; returns how many. Without arguments there is nothing to try."""
    return _change(engine, _RETRY, refused_ids)


def drop(engine: Engine, refused_ids: Sequence[int]) -> int:
    """End messages and delete their arguments; returns how many."""
    return _change(engine, _DROP, refused_ids)


def rotate(engine: Engine, cipher: FernetTokenCipher) -> Iterator[RotatedArguments]:
    """Encrypt and hash all arguments with the first key, in batches; yields each batch.

    Arguments that no key decrypts stay as they are. Safe to repeat, and while workers run.
    """
    after = 0
    while True:
        with engine.begin() as connection:
            rows = connection.execute(_NEXT, {"after": after, "limit": BATCH}).all()
            if not rows:
                return
            after = rows[-1].refused_id
            unreadable = [
                refused_id
                for refused_id, old in rows
                if not _encrypt_anew(connection, cipher, refused_id, old)
            ]
        yield RotatedArguments(encrypted=len(rows) - len(unreadable), unreadable=tuple(unreadable))


def erase(
    connection: Connection, session_id: str, hashes: Callable[[str], list[bytes]]
) -> ErasedMessages:
    """Delete refused messages that name the session, and its early confirmation.

    `hashes` returns the keyed hash of an id by each key.
    """
    values = {"session_id": session_id, "hashes": hashes(session_id)}
    refused = connection.execute(_ERASE, values).rowcount
    early = connection.execute(_ERASE_CONFIRMATION, {"session_id": session_id}).rowcount
    return ErasedMessages(refused_messages=refused, early_confirmations=early)


def _change(engine: Engine, statement: TextClause, refused_ids: Sequence[int]) -> int:
    changed = 0
    for start in range(0, len(refused_ids), BATCH):
        with engine.begin() as connection:
            values = {"refused_ids": list(refused_ids[start : start + BATCH])}
            changed += connection.execute(statement, values).rowcount
    return changed


def _encrypt_anew(
    connection: Connection, cipher: FernetTokenCipher, refused_id: int, old: bytes
) -> bool:
    """Return False if no key decrypts it."""
    try:
        envelope = cipher.decrypt(old)
    except DeliveryError:
        return False
    values = {
        "refused_id": refused_id,
        "old": old,
        "new": cipher.encrypt(envelope),
        "hashes": [cipher.hashes(each)[0] for each in ids_in(envelope)],
    }
    connection.execute(_REPLACE, values)
    return True
