"""refused messages, early confirmations, processes, queues."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "9c5e7a31d0f4"
down_revision = "d7b3f1a86c52"
branch_labels = None
depends_on = None

_TIME = postgresql.TIMESTAMP(timezone=True)

# A statement trigger: one lookup for all rows of an INSERT, from every writer (the task, a list,
# the SQL function, the release before). It runs with its owner's rights, so that a role that was
# granted nothing new can go on tracking.
_APPLY = """
CREATE FUNCTION apply_early_confirmations() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $function$
BEGIN
    WITH applied AS (
        DELETE FROM early_confirmations AS e USING inserted AS i
        WHERE e.session_id = i.session_id
        RETURNING e.session_id, e.order_id, e.received_at
    )
    UPDATE payment_sessions AS p
    SET confirmed_at = a.received_at, confirmed_order_id = a.order_id
    FROM applied AS a
    WHERE p.session_id = a.session_id;
    RETURN NULL;
END
$function$
"""
_TRIGGER = """
CREATE TRIGGER apply_early_confirmations AFTER INSERT ON payment_sessions
REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION apply_early_confirmations()
"""
# Whatever schema the tables are in, and nobody else's names before theirs.
_FIX_SEARCH_PATH = """
DO $$
BEGIN
    EXECUTE 'ALTER FUNCTION apply_early_confirmations() SET search_path = pg_catalog, '
        || quote_ident(current_schema()) || ', pg_temp';
END
$$
"""


def upgrade() -> None:
    """Add tables that the release before does not know; no table is rewritten."""
    op.create_table(
        "refused_messages",
        sa.Column("refused_id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("arguments", sa.LargeBinary(), nullable=True),
        sa.Column(
            "argument_hashes",
            postgresql.ARRAY(sa.LargeBinary()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("received_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at", _TIME, nullable=True),
        sa.Column("last_tried_at", _TIME, nullable=True),
        sa.Column("resolved_at", _TIME, nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "resolution IN ('taken', 'superseded', 'dropped')",
            name=op.f("ck_refused_messages_resolution"),
        ),
        sa.CheckConstraint(
            "(resolved_at IS NULL) = (resolution IS NULL)",
            name=op.f("ck_refused_messages_resolved_with_resolution"),
        ),
        sa.CheckConstraint(
            "resolved_at IS NULL OR (arguments IS NULL AND next_try_at IS NULL)",
            name=op.f("ck_refused_messages_resolved_keeps_no_arguments"),
        ),
        sa.PrimaryKeyConstraint("refused_id", name=op.f("pk_refused_messages")),
        sa.UniqueConstraint(
            "task_id", "body_hash", name=op.f("uq_refused_messages_task_id_body_hash")
        ),
    )
    op.create_index(
        "ix_refused_messages_due",
        "refused_messages",
        ["next_try_at"],
        postgresql_where=sa.text("next_try_at IS NOT NULL"),
    )
    op.create_index(
        "ix_refused_messages_unresolved",
        "refused_messages",
        ["received_at"],
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_table(
        "early_confirmations",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("received_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_early_confirmations")),
    )
    op.create_table(
        "processes",
        sa.Column("process_id", postgresql.UUID(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("queues", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("accounts", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("started_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("seen_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("progress_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("stopped_at", _TIME, nullable=True),
        sa.CheckConstraint("role IN ('worker', 'beat')", name=op.f("ck_processes_role")),
        sa.PrimaryKeyConstraint("process_id", name=op.f("pk_processes")),
    )
    op.create_table(
        "queues",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("waiting", sa.BigInteger(), nullable=False),
        sa.Column("next_message_hash", sa.LargeBinary(), nullable=True),
        # Since when it has not been empty, and since when its next message is the same.
        sa.Column("waiting_since", _TIME, nullable=True),
        sa.Column("unchanged_since", _TIME, nullable=True),
        sa.Column("looked_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("queue", name=op.f("pk_queues")),
    )
    op.execute(_APPLY)
    op.execute(_FIX_SEARCH_PATH)
    op.execute("REVOKE ALL ON FUNCTION apply_early_confirmations() FROM PUBLIC")
    op.execute(_TRIGGER)


def downgrade() -> None:
    """Take it all back."""
    op.execute("DROP TRIGGER IF EXISTS apply_early_confirmations ON payment_sessions")
    op.execute("DROP FUNCTION IF EXISTS apply_early_confirmations()")
    for table in ("queues", "processes", "early_confirmations", "refused_messages"):
        op.drop_table(table)
