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
    """Remember what the shop's own systems call a payment: their sinks act on it by that name."""
    op.add_column(
        "payment_sessions",
        sa.Column("shop_objects", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_column("payment_sessions", "shop_objects")
