"""confirmation clock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "c3f9a5d20e61"
down_revision = "d41f6b0a82c7"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("authorization_expires_at", postgresql.TIMESTAMP(timezone=True)),
    ("next_warning_at", postgresql.TIMESTAMP(timezone=True)),
    ("authorization_lapsed_at", postgresql.TIMESTAMP(timezone=True)),
    ("confirmed_at", postgresql.TIMESTAMP(timezone=True)),
    ("confirmed_order_id", sa.Text()),
)
_CHECKS = {
    "ck_payment_sessions_confirmed_with_order": (
        "(confirmed_at IS NULL) = (confirmed_order_id IS NULL)"
    ),
    "ck_payment_sessions_warned_while_awaited": (
        "next_warning_at IS NULL OR (outcome = 'completed' AND confirmed_at IS NULL"
        " AND authorization_expires_at IS NOT NULL AND authorization_lapsed_at IS NULL)"
    ),
}
_INDEXES = {
    "ix_payment_sessions_warning": ("next_warning_at", "next_warning_at IS NOT NULL"),
    "ix_payment_sessions_lapsed": (
        "authorization_lapsed_at",
        "authorization_lapsed_at IS NOT NULL AND confirmed_at IS NULL",
    ),
}


def upgrade() -> None:
    """Store when an authorization expires, when to warn, and the confirmed order.

    Earlier authorizations get no warnings. The migration may be repeated after a failure.
    """
    for name, kind in _COLUMNS:
        op.add_column("payment_sessions", sa.Column(name, kind, nullable=True), if_not_exists=True)
    for name, condition in _CHECKS.items():
        op.execute(f"ALTER TABLE payment_sessions DROP CONSTRAINT IF EXISTS {name}")
        # Existing rows have nulls only. They are validated below, without blocking writes.
        op.execute(
            f"ALTER TABLE payment_sessions ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID"
        )
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        for name in _CHECKS:
            op.execute(f"ALTER TABLE payment_sessions VALIDATE CONSTRAINT {name}")
        for name, (column, condition) in _INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.create_index(
                name,
                "payment_sessions",
                [column],
                postgresql_where=sa.text(condition),
                postgresql_concurrently=True,
            )


def downgrade() -> None:
    """Drop it."""
    with op.get_context().autocommit_block():
        for name in _INDEXES:
            op.drop_index(name, postgresql_concurrently=True, if_exists=True)
    for name in _CHECKS:
        op.execute(f"ALTER TABLE payment_sessions DROP CONSTRAINT IF EXISTS {name}")
    for name, _ in _COLUMNS:
        op.drop_column("payment_sessions", name)
