"""The chain with a million tracked sessions in the table, for minutes: lag, cost, bloat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.environment import Deployment, Servers
from benchmarks.figures import Figure
from benchmarks.lateness import lags
from benchmarks.load import costs, offer, watch
from benchmarks.plan import Plan

RATE = 200.0
MEBIBYTE = 1024 * 1024
SIZES = {
    "table": "pg_table_size('payment_sessions')",
    "all indexes": "pg_indexes_size('payment_sessions')",
    "index of what is due": "pg_relation_size('ix_payment_sessions_due')",
}
# Counters of Postgres, and what its extension pgstattuple finds in the table.
COUNTS = {
    "autovacuum runs": ("", "autovacuum_count"),
    "rows updated": ("", "n_tup_upd"),
    "updates without index writes (HOT)": (
        "%",
        "100.0 * n_tup_hot_upd / nullif(n_tup_upd, 0)",
    ),
    "dead rows": ("% of the table", "(pgstattuple('payment_sessions')).dead_tuple_percent"),
    "free space": ("% of the table", "(pgstattuple('payment_sessions')).free_percent"),
}


def measure(servers: Servers, plan: Plan) -> Iterator[Figure]:
    """Poll for minutes while many sessions are not due."""
    background, seconds = max(plan.table_sizes), plan.background_seconds
    load = f"{RATE:g}/s for {seconds:g} s among {background:,}"
    with servers.deployment(f"chain, {load}") as deployment:
        deployment.connection.execute("CREATE EXTENSION pgstattuple")
        deployment.start(workers=1)
        offered = offer(
            deployment, RATE, warm_up=plan.warm_up, seconds=seconds, background=background
        )
        before = _asked(deployment, SIZES.values())
        windows = watch(deployment, offered)
        after = _asked(deployment, SIZES.values())
        counts = _asked(deployment, (expression for _, expression in COUNTS.values()))
    yield from lags(f"scale: lag {{}}, {load}", windows, {})
    yield from costs("scale", load, windows)
    for name, small, large in zip(SIZES, before, after, strict=True):
        yield _once(f"{name}, {load}", "MiB", large / MEBIBYTE)
        yield _once(f"growth during the run, {name}", "MiB", (large - small) / MEBIBYTE)
    for (name, (unit, _)), count in zip(COUNTS.items(), counts, strict=True):
        yield _once(f"{name}, {load}", unit, count)


def _once(name: str, unit: str, value: float) -> Figure:
    return Figure(name=f"scale: {name}", unit=unit, values=(value,))


def _asked(deployment: Deployment, expressions: Iterable[str]) -> list[float]:
    wanted = ", ".join(f"coalesce(({each})::float, 0)" for each in expressions)
    row = deployment.connection.execute(
        f"SELECT {wanted} FROM pg_stat_user_tables WHERE relname = 'payment_sessions'"  # noqa: S608 - constants of this module
    ).fetchone()
    return [*(row or ())]
