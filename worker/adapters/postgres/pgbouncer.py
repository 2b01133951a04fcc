"""Engines for DATABASE_URL as it is: Postgres itself, or PgBouncer in transaction mode before it.

`?pgbouncer=true` in the URL says which, as elsewhere. PgBouncer refuses the startup parameter
`options` and gives each transaction whichever of its connections is free: what a session would be
told at its start is told to each transaction, and no statement is prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

PARAMETER = "pgbouncer"

AnyEngine = TypeVar("AnyEngine", Engine, AsyncEngine)


def open_engine(
    make: Callable[..., AnyEngine],
    url: str,
    *,
    told: Mapping[str, str] | None = None,
    connect_args: Mapping[str, Any] | None = None,
    **options: Any,  # noqa: ANN401 - SQLAlchemy's own
) -> AnyEngine:
    """Return `make(url, …)` whose transactions all run under the Postgres settings `told`."""
    arguments, told = dict(connect_args or {}), told or {}
    address = make_url(url)
    if not is_pooled(address):
        if told:
            arguments["options"] = " ".join(f"-c {name}={value}" for name, value in told.items())
        return make(address, connect_args=arguments, hide_parameters=True, **options)
    arguments["prepare_threshold"] = None
    address = address.difference_update_query([PARAMETER])
    engine = make(address, connect_args=arguments, hide_parameters=True, **options)
    _tell_each_transaction(engine, told)
    return engine


def is_pooled(address: URL) -> bool:
    """Whether the URL names a PgBouncer in transaction mode."""
    return address.query.get(PARAMETER) == "true"


def _tell_each_transaction(engine: Engine | AsyncEngine, told: Mapping[str, str]) -> None:
    # A default for transactions would miss the one that it is said in; and the sockets that
    # tcp_… and client_… are about are PgBouncer's own.
    local = {
        name.removeprefix("default_"): value
        for name, value in told.items()
        if not name.startswith(("tcp_", "client_"))
    }
    if not local:
        return
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in local.items())
    statement = f"SELECT {calls}"

    def tell(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    event.listen(engine.sync_engine if isinstance(engine, AsyncEngine) else engine, "begin", tell)
