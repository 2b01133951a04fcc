"""The tables, for queries and for migrations, which alone create them."""

from worker.adapters.postgres.tables.columns import metadata
from worker.adapters.postgres.tables.outbox import (
    outbox_deliveries,
    outbox_messages,
    stream_generations,
    webhook_endpoints,
)
from worker.adapters.postgres.tables.sessions import (
    accounts,
    payment_sessions,
    status_transitions,
)

__all__ = [
    "accounts",
    "metadata",
    "outbox_deliveries",
    "outbox_messages",
    "payment_sessions",
    "status_transitions",
    "stream_generations",
    "webhook_endpoints",
]
