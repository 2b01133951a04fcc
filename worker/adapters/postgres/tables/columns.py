"""The metadata of all tables, and columns that several of them have."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, MetaData, Text, text
from sqlalchemy.dialects.postgresql import TIMESTAMP

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Time = TIMESTAMP(timezone=True)


def count(name: str) -> Column[int]:
    """Return a counter that starts at 0."""
    return Column(name, Integer, nullable=False, server_default=text("0"))


def session_id() -> Column[str]:
    """Return the reference to a payment session; the row is deleted with its session."""
    return Column(
        "session_id",
        Text,
        ForeignKey("payment_sessions.session_id", ondelete="CASCADE"),
        nullable=False,
    )
