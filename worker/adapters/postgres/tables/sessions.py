"""Payment sessions, their status transitions, and accounts."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from worker.adapters.postgres.literals import one_of
from worker.adapters.postgres.tables.columns import Time, count, metadata, session_id
from worker.domain.session import Kind, Outcome

payment_sessions = Table(
    "payment_sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("session_url", Text, nullable=False),
    Column("reference", Text),
    Column("status", Text),
    Column("status_updated_at", Time),
    Column("status_observed_at", Time),
    Column("expires_at", Time),
    Column("outcome", Text),
    Column("finished_at", Time),
    Column("guessed_outcome", Text),
    Column("next_poll_at", Time, server_default=func.now()),
    # The interval of the policy alone. The claim compares the time a session has waited with it.
    Column("ideal_interval_seconds", Double),
    Column("nudged_at", Time),
    Column("lease_id", UUID(as_uuid=True)),
    Column("lease_expires_at", Time),
    count("poll_count"),
    count("consecutive_failures"),
    Column("failing_since", Time),
    Column("last_polled_at", Time),
    Column("last_read_at", Time),
    Column("last_error", Text),
    count("not_found_count"),
    Column("not_found_since", Time),
    count("transition_count"),
    count("event_count"),
    Column("order_id", Text),
    Column("klarna_reference", Text),
    # By sink: {"commerce_layer": {"klarna_payment_id": …}, "payway": {…}}.
    Column("shop_objects", JSONB(none_as_null=True)),
    Column("authorization_token", LargeBinary),
    Column("tracked_at", Time, nullable=False, server_default=func.now()),
    # The confirmation clock. `next_warning_at` is null where no order is awaited.
    Column("authorization_expires_at", Time),
    Column("next_warning_at", Time),
    Column("authorization_lapsed_at", Time),
    Column("confirmed_at", Time),
    Column("confirmed_order_id", Text),
    # W3C `traceparent` of the span that tracked the session; null without tracing.
    Column("trace_parent", Text),
    # The times of the latest polls, newest first: seconds after tracked_at, inverted (~) if the
    # poll failed. Null if only releases before this column polled the session.
    Column("polled_seconds", ARRAY(Integer)),
    CheckConstraint(f"kind IN {one_of(Kind)}", name="kind"),
    CheckConstraint(f"outcome IN {one_of(Outcome)}", name="outcome"),
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

# For searches by hand. Only the first of these indexes contains open sessions, too.
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

status_transitions = Table(
    "status_transitions",
    metadata,
    session_id(),
    Column("sequence", Integer, nullable=False),
    Column("from_status", Text),
    Column("to_status", Text, nullable=False),
    Column("occurred_at", Time, nullable=False),
    Column("observed_at", Time, nullable=False),
    # Null for a session's first transition, and for transitions older than this column.
    Column("previous_read_at", Time),
    UniqueConstraint("session_id", "sequence"),
)
Index("ix_status_transitions_observed_at", status_transitions.c.observed_at)

accounts = Table(
    "accounts",
    metadata,
    Column("account", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("paused_until", Time),
    count("refusals"),
    count("throttles"),
    Column("last_read_at", Time),
    # Failed reads in a row, when they began, and when the account recovered.
    count("failures"),
    Column("failing_since", Time),
    Column("recovered_at", Time),
    # The share of the budget after a 429, and when it was cut; Klarna's limit in reads a second.
    Column("quota_share", Double, nullable=False, server_default=text("1")),
    Column("quota_cut_at", Time),
    Column("read_limit", Double),
    Column("read_limit_at", Time),
    # The interval multiplier: every interval is this many times as long as the policy's.
    Column("stretch", Double, nullable=False, server_default=text("1")),
    Column("stretched_at", Time),
)
