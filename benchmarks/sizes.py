"""Disk space of tracked and finished sessions, and the speed of the purge.

`python -m benchmarks.sizes` prints what docs/scaling.md says.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta

from benchmarks.environment import Deployment, Servers
from benchmarks.load import insert_sessions
from worker.adapters import clock
from worker.adapters.postgres.engine import create_engine
from worker.adapters.postgres.purge import PostgresPurge
from worker.services.housekeeping import BATCH

SESSIONS = 100_000
TABLES = ("payment_sessions", "status_transitions", "outbox_messages", "outbox_deliveries")
# A poll without a change; the next time is indexed.
_POLLED = """
    UPDATE payment_sessions SET next_poll_at = next_poll_at + interval '40 minutes',
        last_polled_at = now(), last_read_at = now(), poll_count = poll_count + 1
    WHERE outcome IS NULL
"""
# Three transitions, one event to one sink, the token erased: a session that was paid.
_FINISHED = (
    """
    UPDATE payment_sessions SET outcome = 'completed', status = 'COMPLETED', next_poll_at = NULL,
        finished_at = now() - interval '60 days', transition_count = 3, event_count = 1,
        order_id = gen_random_uuid()::text, reference = 'order-' || left(session_id, 8)
    """,
    """
    INSERT INTO status_transitions
    SELECT session_id, n, NULL, (ARRAY['WAITING', 'IN_PROGRESS', 'COMPLETED'])[n], now(), now()
    FROM payment_sessions, generate_series(1, 3) AS n
    """,
    """
    INSERT INTO outbox_messages
    SELECT gen_random_uuid(), session_id, 1, 'payment_session.order_placed',
        jsonb_build_object('id', gen_random_uuid(), 'type', 'payment_session.order_placed',
            'source', 'klarna-session-worker', 'specversion', '1.0', 'subject', session_id,
            'time', now(), 'datacontenttype', 'application/json', 'sequence', '0000000001',
            'data', jsonb_build_object('session_id', session_id, 'account', account,
                'kind', kind, 'reference', reference, 'status', status, 'updated_at', now(),
                'expires_at', expires_at, 'observed_at', now(), 'order_id', order_id))
    FROM payment_sessions
    """,
    """
    INSERT INTO outbox_deliveries (event_id, sink, session_id, sequence, attempts, delivered_at)
    SELECT event_id, 'redis_stream', session_id, sequence, 1, now() FROM outbox_messages
    """,
)


def main() -> None:
    """Insert, poll, finish and purge sessions; print the sizes after each."""
    with Servers({}) as servers, servers.deployment("sizes") as deployment:
        now = clock.now().timestamp()
        insert_sessions(deployment, SESSIONS, first=now + 1800, rate=SESSIONS / 2400)
        _print_sizes(deployment, "tracked, not read yet")
        for _ in range(10):
            deployment.connection.execute(_POLLED)
            deployment.connection.execute("VACUUM payment_sessions")
        _print_sizes(deployment, "tracked, each read ten times, vacuumed after each")
        for statement in _FINISHED:
            deployment.connection.execute(statement)
        for table in TABLES:
            deployment.connection.execute(f"VACUUM FULL ANALYZE {table}")
        _print_sizes(deployment, "finished, after VACUUM FULL")
        asyncio.run(_purge(deployment.database_url))
        deployment.connection.execute(f"VACUUM {', '.join(TABLES)}")
        _print_sizes(deployment, "purged, vacuumed: free space for new rows")


def _print_sizes(deployment: Deployment, what: str) -> None:
    sizes = []
    for table in TABLES:
        row = deployment.connection.execute(
            "SELECT pg_relation_size(%(t)s), pg_indexes_size(%(t)s)", {"t": table}
        ).fetchone()
        rows, indexes = row or (0, 0)
        sizes.append(f"{table} {rows / SESSIONS:,.0f} + {indexes / SESSIONS:,.0f}")
    sys.stdout.write(f"{what}: bytes a session (rows + indexes): {', '.join(sizes)}\n")
    sys.stdout.flush()


async def _purge(database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    purge = PostgresPurge(engine, sinks=["redis_stream"])
    taken = []
    while True:
        began = time.perf_counter()
        if not await purge.delete_finished(older_than=timedelta(days=30), limit=BATCH):
            break
        taken.append(1000 * (time.perf_counter() - began))
    await engine.dispose()
    taken.sort()
    middle, longest = taken[len(taken) // 2], taken[-1]
    rate = BATCH * len(taken) * 1000 / sum(taken)
    sys.stdout.write(
        f"purge of {BATCH}: {middle:.0f} ms median, {longest:.0f} at most, {rate:,.0f} a second\n"
    )


if __name__ == "__main__":
    main()
