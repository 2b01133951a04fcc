"""The tables of messages not taken in, and of what a deployment says of itself."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP, UUID

from worker.adapters.postgres.tables import metadata

_Time = TIMESTAMP(timezone=True)

# One row for each message that was not taken in, however often it is delivered.
refused_messages = Table(
    "refused_messages",
    metadata,
    Column("refused_id", BigInteger, Identity(), primary_key=True),
    Column("task_id", Text, nullable=False),
    Column("body_hash", LargeBinary, nullable=False),
    Column("task", Text, nullable=False),
    # Only where they are sound: what a sender wrote may hold anything.
    Column("session_id", Text),
    Column("reference", Text),
    Column("field", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # Encrypted; null once resolved, after 72 hours, or where they were too large.
    Column("arguments", LargeBinary),
    # Keyed hashes of what looks like an id, so that `erase` finds the row.
    Column("argument_hashes", ARRAY(LargeBinary), nullable=False, server_default=text("'{}'")),
    Column("received_at", _Time, nullable=False, server_default=func.now()),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Null: it waits for a person.
    Column("next_try_at", _Time),
    Column("last_tried_at", _Time),
    Column("resolved_at", _Time),
    Column("resolution", Text),
    CheckConstraint("resolution IN ('taken', 'superseded', 'dropped')", name="resolution"),
    CheckConstraint(
        "(resolved_at IS NULL) = (resolution IS NULL)", name="resolved_with_resolution"
    ),
    CheckConstraint(
        "resolved_at IS NULL OR (arguments IS NULL AND next_try_at IS NULL)",
        name="resolved_keeps_no_arguments",
    ),
    UniqueConstraint("task_id", "body_hash"),
)
Index(
    "ix_refused_messages_due",
    refused_messages.c.next_try_at,
    postgresql_where=refused_messages.c.next_try_at.is_not(None),
)
Index(
    "ix_refused_messages_unresolved",
    refused_messages.c.received_at,
    postgresql_where=refused_messages.c.resolved_at.is_(None),
)

# Orders confirmed before their session was tracked. A trigger applies them when it is stored.
early_confirmations = Table(
    "early_confirmations",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("received_at", _Time, nullable=False, server_default=func.now()),
)

# Heartbeats: one row for each worker and beat process.
processes = Table(
    "processes",
    metadata,
    Column("process_id", UUID(as_uuid=True), primary_key=True),
    Column("role", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("queues", ARRAY(Text), nullable=False),
    Column("accounts", ARRAY(Text), nullable=False),
    Column("started_at", _Time, nullable=False, server_default=func.now()),
    Column("seen_at", _Time, nullable=False, server_default=func.now()),
    Column("progress_at", _Time, nullable=False, server_default=func.now()),
    # An ordered stop: its absence is no fault.
    Column("stopped_at", _Time),
    CheckConstraint("role IN ('worker', 'beat')", name="role"),
)

# What beat saw of each queue of ours: messages carry no time of sending.
queues = Table(
    "queues",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("waiting", BigInteger, nullable=False),
    Column("next_message_hash", LargeBinary),
    # Since when it has not been empty, and since when its next message is the same.
    Column("waiting_since", _Time),
    Column("unchanged_since", _Time),
    Column("looked_at", _Time, nullable=False, server_default=func.now()),
)
