"""A shop on the same Postgres, that tracks in a transaction of its own."""

from __future__ import annotations

import psycopg


def track(shop: psycopg.Connection, session_id: object = "s1", **arguments: object) -> bool:
    """Call `track_payment_session`; returns whether the session is new. Commits nothing."""
    named = "".join(f", {name} => %s" for name in arguments)
    row = shop.execute(
        f"SELECT track_payment_session(%s{named})", [session_id, *arguments.values()]
    ).fetchone()
    assert row is not None
    return row[0]
