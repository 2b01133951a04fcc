"""index stored tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "8c41d0b7e2aa"
down_revision = "3513b6a5f3ba"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index stored tokens, without blocking writes."""
    with op.get_context().autocommit_block():
        # Waiting for older transactions blocks nobody. A timeout would leave an invalid index.
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_payment_sessions_token")
        op.create_index(
            "ix_payment_sessions_token",
            "payment_sessions",
            ["session_id"],
            postgresql_where=sa.text("authorization_token IS NOT NULL"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    """Drop the index."""
    with op.get_context().autocommit_block():
        op.drop_index("ix_payment_sessions_token", postgresql_concurrently=True, if_exists=True)
