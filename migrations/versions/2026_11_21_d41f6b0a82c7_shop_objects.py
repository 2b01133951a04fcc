"""shop objects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "d41f6b0a82c7"
down_revision = "c0a7e4b91d36"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Store the ids that shop systems have for a payment, for their sinks."""
    op.add_column(
        "payment_sessions",
        sa.Column("shop_objects", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("payment_sessions", "shop_objects")
