"""Inserts refused messages for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.support.stored import Stored
from worker.adapters.crypto import FernetTokenCipher
from worker.domain.refused_messages import ids_in


def add_refused(
    stored: Stored, *args: object, keys: Sequence[str], hours_ago: float = 0, **columns: object
) -> int:
    """Insert a message that waits for a person, kept with these arguments; returns its id."""
    number = stored.value("SELECT count(*) FROM refused_messages")
    cipher = FernetTokenCipher(keys)
    envelope = json.dumps({"args": args, "kwargs": {}, "trace_parent": None, "first_poll_at": None})
    defaults = {
        "task_id": f"task-{number}",
        "body_hash": b"hash",
        "task": "payment_sessions.track",
        "field": "session_url",
        "reason": "must be text",
        "arguments": cipher.encrypt(envelope),
        "argument_hashes": [cipher.hashes(each)[0] for each in ids_in(envelope)],
    }
    stored.add("refused_messages", **(defaults | columns))
    return stored.value(
        "UPDATE refused_messages SET received_at = now() - %s * interval '1 h'"
        " WHERE refused_id = (SELECT max(refused_id) FROM refused_messages) RETURNING refused_id",
        hours_ago,
    )


def add_early_confirmation(stored: Stored, session_id: str, *, hours_ago: float) -> None:
    """Insert an order confirmed before its session was tracked."""
    stored.add("early_confirmations", session_id=session_id, order_id=f"order-of-{session_id}")
    stored.rows(
        "UPDATE early_confirmations SET received_at = now() - %s * interval '1 h'"
        " WHERE session_id = %s",
        hours_ago,
        session_id,
    )
