"""The tables; migrations make them, nothing else does."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, UUID

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Time = TIMESTAMP(timezone=True)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


payment_sessions = Table(
    "payment_sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("session_url", Text, nullable=False),
    Column("reference", Text),
    Column("status", Text),
    Column("status_updated_at", _Time),
    Column("status_observed_at", _Time),
    Column("expires_at", _Time),
    Column("outcome", Text),
    Column("finished_at", _Time),
    Column("guessed_outcome", Text),
    Column("next_poll_at", _Time, server_default=func.now()),
    # The wait that the policy alone would keep: what a read is worth goes by it.
    Column("ideal_interval_seconds", Double),
    Column("nudged_at", _Time),
    Column("lease_id", UUID(as_uuid=True)),
    Column("lease_expires_at", _Time),
    _count("poll_count"),
    _count("consecutive_failures"),
    Column("failing_since", _Time),
    Column("last_polled_at", _Time),
    Column("last_read_at", _Time),
    Column("last_error", Text),
    _count("not_found_count"),
    Column("not_found_since", _Time),
    _count("transition_count"),
    _count("event_count"),
    Column("order_id", Text),
    Column("klarna_reference", Text),
    # By sink: {"commerce_layer": {"klarna_payment_id": …}, "payway": {…}}.
    Column("shop_objects", JSONB(none_as_null=True)),
    Column("authorization_token", LargeBinary),
    Column("tracked_at", _Time, nullable=False, server_default=func.now()),
    # The confirmation clock. The next warning is null where no order is waited for.
    Column("authorization_expires_at", _Time),
    Column("next_warning_at", _Time),
    Column("authorization_lapsed_at", _Time),
    Column("confirmed_at", _Time),
    Column("confirmed_order_id", Text),
    # W3C's `traceparent` of the span that tracked it; null where nothing is traced.
    Column("trace_parent", Text),
    # When its latest polls were, the newest first: seconds after tracked_at, inverted (~) for one
    # that failed. Null where releases before this column polled.
    Column("polled_seconds", ARRAY(Integer)),
    CheckConstraint("kind IN ('hpp', 'kp')", name="kind"),
    CheckConstraint(
        "outcome IN ('completed', 'cancelled', 'disabled', 'expired', 'not_found')", name="outcome"
    ),
    CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)", name="finished_with_outcome"),
    CheckConstraint("(outcome IS NULL) = (next_poll_at IS NOT NULL)", name="open_has_next_poll"),
    CheckConstraint("(lease_id IS NULL) = (lease_expires_at IS NULL)", name="lease_has_an_end"),
    CheckConstraint(
        "(confirmed_at IS NULL) = (confirmed_order_id IS NULL)", name="confirmed_with_order"
    ),
    CheckConstraint(
        "next_warning_at IS NULL OR (outcome = 'completed' AND confirmed_at IS NULL"
        " AND authorization_expires_at IS NOT NULL AND authorization_lapsed_at IS NULL)",
        name="warned_while_awaited",
    ),
)
Index(
    "ix_payment_sessions_due",
    payment_sessions.c.account,
    payment_sessions.c.next_poll_at,
    postgresql_where=payment_sessions.c.outcome.is_(None),
)
Index(
    "ix_payment_sessions_leased",
    payment_sessions.c.account,
    payment_sessions.c.lease_expires_at,
    postgresql_where=payment_sessions.c.lease_id.is_not(None),
)
Index(
    "ix_payment_sessions_finished",
    payment_sessions.c.finished_at,
    postgresql_where=payment_sessions.c.finished_at.is_not(None),
)

# How people look for one. Of these only the first holds open sessions too.
for _name in ("reference", "order_id", "confirmed_order_id"):
    Index(
        f"ix_payment_sessions_{_name}",
        payment_sessions.c[_name],
        postgresql_where=payment_sessions.c[_name].is_not(None),
    )
Index(
    "ix_payment_sessions_outcome",
    payment_sessions.c.outcome,
    payment_sessions.c.finished_at,
    postgresql_where=payment_sessions.c.finished_at.is_not(None),
)

Index(
    "ix_payment_sessions_token",
    payment_sessions.c.session_id,
    postgresql_where=payment_sessions.c.authorization_token.is_not(None),
)
Index(
    "ix_payment_sessions_warning",
    payment_sessions.c.next_warning_at,
    postgresql_where=payment_sessions.c.next_warning_at.is_not(None),
)
Index(
    "ix_payment_sessions_lapsed",
    payment_sessions.c.authorization_lapsed_at,
    postgresql_where=payment_sessions.c.authorization_lapsed_at.is_not(None)
    & payment_sessions.c.confirmed_at.is_(None),
)

accounts = Table(
    "accounts",
    metadata,
    Column("account", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("paused_until", _Time),
    _count("refusals"),
    _count("throttles"),
    Column("last_read_at", _Time),
    # Reads that failed on the way, in a row; when they began, and when the account came back.
    _count("failures"),
    Column("failing_since", _Time),
    Column("recovered_at", _Time),
    # What a 429 left of the budget, and when; the limit that Klarna's answers name, per second.
    Column("quota_share", Double, nullable=False, server_default=text("1")),
    Column("quota_cut_at", _Time),
    Column("read_limit", Double),
    Column("read_limit_at", _Time),
    # How many times as long as the policy wants every interval is, so that the load fits.
    Column("stretch", Double, nullable=False, server_default=text("1")),
    Column("stretched_at", _Time),
)


def _session_id() -> Column[str]:
    return Column(
        "session_id",
        Text,
        ForeignKey("payment_sessions.session_id", ondelete="CASCADE"),
        nullable=False,
    )


status_transitions = Table(
    "status_transitions",
    metadata,
    _session_id(),
    Column("sequence", Integer, nullable=False),
    Column("from_status", Text),
    Column("to_status", Text, nullable=False),
    Column("occurred_at", _Time, nullable=False),
    Column("observed_at", _Time, nullable=False),
    # Null for a session's first transition, and for what releases before this column recorded.
    Column("previous_read_at", _Time),
    UniqueConstraint("session_id", "sequence"),
)
Index("ix_status_transitions_observed_at", status_transitions.c.observed_at)

outbox_messages = Table(
    "outbox_messages",
    metadata,
    Column("event_id", UUID(as_uuid=True), primary_key=True),
    _session_id(),
    Column("sequence", Integer, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("created_at", _Time, nullable=False, server_default=func.now()),
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
    # The message's own, repeated: finding each session's oldest needs no join.
    Column("session_id", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    _count("attempts"),
    Column("next_attempt_at", _Time, nullable=False, server_default=func.now()),
    Column("delivered_at", _Time),
    Column("dead_at", _Time),
    Column("last_error", Text),
    # When trying began: with the message, or anew with a replay.
    Column("due_since", _Time, nullable=False, server_default=func.now()),
    CheckConstraint("delivered_at IS NULL OR dead_at IS NULL", name="one_end"),
)
_undelivered = outbox_deliveries.c.delivered_at.is_(None) & outbox_deliveries.c.dead_at.is_(None)
Index(
    "ix_outbox_deliveries_undelivered",
    outbox_deliveries.c.session_id,
    outbox_deliveries.c.sink,
    outbox_deliveries.c.sequence,
    postgresql_where=_undelivered,
)
Index(
    "ix_outbox_deliveries_due", outbox_deliveries.c.next_attempt_at, postgresql_where=_undelivered
)
Index(
    "ix_outbox_deliveries_due_by_sink",
    outbox_deliveries.c.sink,
    outbox_deliveries.c.next_attempt_at,
    postgresql_where=_undelivered,
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
    # It answered 410 Gone: nothing is sent until a person enables it again.
    Column("disabled_at", _Time),
    Column("reason", Text),
    # It asked for a pause.
    Column("held_until", _Time),
)

stream_generations = Table(
    "stream_generations",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("generation", Text, nullable=False),
    # What was delivered from then until then is being sent again; null when all is done.
    Column("resend_from", _Time),
    Column("resend_until", _Time),
)
