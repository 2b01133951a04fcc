"""Conditions on rows that many statements share."""

from __future__ import annotations


def pending(delivery: str) -> str:
    """Return the condition that a delivery, by its alias, is neither delivered nor dead."""
    return f"{delivery}.delivered_at IS NULL AND {delivery}.dead_at IS NULL"


def older_pending(delivery: str) -> str:
    """Return FROM and WHERE of the pending deliveries, `older`, that a delivery waits for.

    Only the oldest pending delivery of a session is deliverable, per sink.
    """
    return f"""
        FROM outbox_deliveries AS older
        WHERE older.session_id = {delivery}.session_id AND older.sink = {delivery}.sink
            AND older.sequence < {delivery}.sequence
            AND {pending("older")}
    """


# Of a row of webhook_endpoints: nothing is sent to this sink now.
SINK_UNAVAILABLE = "(disabled_at IS NOT NULL OR held_until > statement_timestamp())"

# Of a row of payment_sessions.
NOT_LEASED = "(lease_id IS NULL OR lease_expires_at <= statement_timestamp())"
