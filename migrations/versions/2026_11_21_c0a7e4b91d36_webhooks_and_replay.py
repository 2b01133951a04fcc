"""webhooks and replay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "c0a7e4b91d36"
down_revision = "5b7e19c2a4d0"
branch_labels = None
depends_on = None

_UNDELIVERED = sa.text("delivered_at IS NULL AND dead_at IS NULL")


def upgrade() -> None:
    """Store which endpoints are paused or disabled, and when a delivery was first due."""
    op.create_table(
        "webhook_endpoints",
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("disabled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("held_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("sink", name=op.f("pk_webhook_endpoints")),
        if_not_exists=True,  # both exist if building an index failed before
    )
    # Existing rows share one default, so none is rewritten.
    op.add_column(
        "outbox_deliveries",
        sa.Column(
            "due_since",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        if_not_exists=True,
    )
    with op.get_context().autocommit_block():
        # Built without blocking writes, and without timeouts: see 8c41d0b7e2aa.
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_outbox_deliveries_due_by_sink")
        op.create_index(
            "ix_outbox_deliveries_due_by_sink",
            "outbox_deliveries",
            ["sink", "next_attempt_at"],
            postgresql_where=_UNDELIVERED,
            postgresql_concurrently=True,
        )
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_outbox_deliveries_dead")
        op.create_index(
            "ix_outbox_deliveries_dead",
            "outbox_deliveries",
            ["sink", "dead_at"],
            postgresql_where=sa.text("dead_at IS NOT NULL"),
            postgresql_concurrently=True,
        )
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_outbox_messages_created_at")
        op.create_index(
            "ix_outbox_messages_created_at",
            "outbox_messages",
            ["created_at"],
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    """Drop all of it."""
    with op.get_context().autocommit_block():
        for index, table in (
            ("ix_outbox_messages_created_at", "outbox_messages"),
            ("ix_outbox_deliveries_dead", "outbox_deliveries"),
            ("ix_outbox_deliveries_due_by_sink", "outbox_deliveries"),
        ):
            op.drop_index(index, table, postgresql_concurrently=True, if_exists=True)
    op.drop_column("outbox_deliveries", "due_since")
    op.drop_table("webhook_endpoints")
