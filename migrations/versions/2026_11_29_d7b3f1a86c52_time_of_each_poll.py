"""time of each poll."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "d7b3f1a86c52"
down_revision = "b2f6d0c8e413"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Store the times of a session's latest polls; no table is rewritten."""
    op.add_column("payment_sessions", sa.Column("polled_seconds", postgresql.ARRAY(sa.Integer())))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("payment_sessions", "polled_seconds")
