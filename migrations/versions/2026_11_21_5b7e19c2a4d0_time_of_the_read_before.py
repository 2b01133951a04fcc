"""time of the read before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "5b7e19c2a4d0"
down_revision = "8c41d0b7e2aa"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Store the read before each transition, and index transitions by time."""
    op.add_column(
        "status_transitions",
        sa.Column("previous_read_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        if_not_exists=True,  # it exists if building the index failed before
    )
    with op.get_context().autocommit_block():
        # Built without blocking writes, and without timeouts: see 8c41d0b7e2aa.
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_status_transitions_observed_at")
        op.create_index(
            "ix_status_transitions_observed_at",
            "status_transitions",
            ["observed_at"],
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    """Drop both."""
    with op.get_context().autocommit_block():
        op.drop_index(
            "ix_status_transitions_observed_at", postgresql_concurrently=True, if_exists=True
        )
    op.drop_column("status_transitions", "previous_read_at")
