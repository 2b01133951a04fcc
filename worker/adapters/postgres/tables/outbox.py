"""The outbox, and the state of webhook endpoints and streams."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from worker.adapters.postgres.tables.columns import Time, count, metadata, session_id

outbox_messages = Table(
    "outbox_messages",
    metadata,
    Column("event_id", UUID(as_uuid=True), primary_key=True),
    session_id(),
    Column("sequence", Integer, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    UniqueConstraint("session_id", "sequence"),
)
Index("ix_outbox_messages_created_at", outbox_messages.c.created_at)

outbox_deliveries = Table(
    "outbox_deliveries",
    metadata,
    Column(
        "event_id",
        UUID(as_uuid=True),
        ForeignKey("outbox_messages.event_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("sink", Text, primary_key=True),
    # Copied from the message, so that each session's oldest delivery is found without a join.
    Column("session_id", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    count("attempts"),
    Column("next_attempt_at", Time, nullable=False, server_default=func.now()),
    Column("delivered_at", Time),
    Column("dead_at", Time),
    Column("last_error", Text),
    # When the first attempt was due: when the message was written, or replayed.
    Column("due_since", Time, nullable=False, server_default=func.now()),
    CheckConstraint("delivered_at IS NULL OR dead_at IS NULL", name="one_end"),
)
_pending = outbox_deliveries.c.delivered_at.is_(None) & outbox_deliveries.c.dead_at.is_(None)
Index(
    "ix_outbox_deliveries_undelivered",
    outbox_deliveries.c.session_id,
    outbox_deliveries.c.sink,
    outbox_deliveries.c.sequence,
    postgresql_where=_pending,
)
Index("ix_outbox_deliveries_due", outbox_deliveries.c.next_attempt_at, postgresql_where=_pending)
Index(
    "ix_outbox_deliveries_due_by_sink",
    outbox_deliveries.c.sink,
    outbox_deliveries.c.next_attempt_at,
    postgresql_where=_pending,
)
Index(
    "ix_outbox_deliveries_dead",
    outbox_deliveries.c.sink,
    outbox_deliveries.c.dead_at,
    postgresql_where=outbox_deliveries.c.dead_at.is_not(None),
)
Index(
    "ix_outbox_deliveries_delivered",
    outbox_deliveries.c.sink,
    outbox_deliveries.c.delivered_at,
    postgresql_where=outbox_deliveries.c.delivered_at.is_not(None),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("sink", Text, primary_key=True),
    # The endpoint answered 410 Gone. Nothing is sent until a person enables it again.
    Column("disabled_at", Time),
    Column("reason", Text),
    # The endpoint asked for a pause until then.
    Column("held_until", Time),
)

stream_generations = Table(
    "stream_generations",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("generation", Text, nullable=False),
    # Events delivered between the two are being redelivered; null when that is done.
    Column("resend_from", Time),
    Column("resend_until", Time),
)
