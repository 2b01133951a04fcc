"""find sessions."""

from __future__ import annotations

from alembic import op

revision = "a94e2c7d51b8"
down_revision = "f7a1c4e8b950"
branch_labels = None
depends_on = None

# All but the first index finished sessions only, so that polling open sessions does not write to
# them.
_INDEXES = (
    ("ix_payment_sessions_reference", "(reference) WHERE reference IS NOT NULL"),
    ("ix_payment_sessions_order_id", "(order_id) WHERE order_id IS NOT NULL"),
    (
        "ix_payment_sessions_confirmed_order_id",
        "(confirmed_order_id) WHERE confirmed_order_id IS NOT NULL",
    ),
    ("ix_payment_sessions_outcome", "(outcome, finished_at) WHERE finished_at IS NOT NULL"),
)


def upgrade() -> None:
    """Index sessions by reference, order and outcome, without blocking writes."""
    with op.get_context().autocommit_block():
        # Without timeouts: see 8c41d0b7e2aa.
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        for name, definition in _INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON payment_sessions {definition}")


def downgrade() -> None:
    """Drop the indexes."""
    with op.get_context().autocommit_block():
        for name, _ in _INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
