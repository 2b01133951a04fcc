"""account budget."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "e6d2b8f03a57"
down_revision = "c3f9a5d20e61"
branch_labels = None
depends_on = None

_TIME = postgresql.TIMESTAMP(timezone=True)
_COLUMNS: tuple[tuple[str, str, sa.types.TypeEngine[Any], str | None], ...] = (
    ("accounts", "failures", sa.Integer(), "0"),
    ("accounts", "failing_since", _TIME, None),
    ("accounts", "recovered_at", _TIME, None),
    ("accounts", "quota_share", sa.Double(), "1"),
    ("accounts", "quota_cut_at", _TIME, None),
    ("accounts", "read_limit", sa.Double(), None),
    ("accounts", "read_limit_at", _TIME, None),
    ("accounts", "stretch", sa.Double(), "1"),
    ("accounts", "stretched_at", _TIME, None),
    ("payment_sessions", "ideal_interval_seconds", sa.Double(), None),
)


def upgrade() -> None:
    """Store the budget of accounts and the ideal interval of sessions; no table is rewritten.

    The previous release writes none of them; the defaults are those of a healthy account.
    """
    for table, name, kind, default in _COLUMNS:
        op.add_column(
            table,
            sa.Column(
                name,
                kind,
                server_default=sa.text(default) if default else None,
                nullable=default is None,
            ),
        )


def downgrade() -> None:
    """Drop the columns."""
    for table, name, _, _ in reversed(_COLUMNS):
        op.drop_column(table, name)
