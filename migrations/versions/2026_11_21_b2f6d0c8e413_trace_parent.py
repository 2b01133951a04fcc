"""trace parent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "b2f6d0c8e413"
down_revision = "a94e2c7d51b8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Store the trace of a session; no table is rewritten."""
    op.add_column("payment_sessions", sa.Column("trace_parent", sa.Text()))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("payment_sessions", "trace_parent")
