"""Engines for Postgres, directly or through PgBouncer in transaction mode.

`?pgbouncer=true` in DATABASE_URL says which. PgBouncer refuses the startup parameter `options`, and
each transaction may use another of its connections. So the server settings are set at the start of
every transaction instead of once per connection, and no statement is prepared.
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
    server_settings: Mapping[str, str] | None = None,
    connect_args: Mapping[str, Any] | None = None,
    **options: Any,  # noqa: ANN401 - SQLAlchemy's own
) -> AnyEngine:
    """Return `make(url, …)`; all its transactions run with these Postgres settings."""
    arguments, settings = dict(connect_args or {}), server_settings or {}
    address = make_url(url)
    if not is_pooled(address):
        if settings:
            arguments["options"] = " ".join(
                f"-c {name}={value}" for name, value in settings.items()
            )
        return make(address, connect_args=arguments, hide_parameters=True, **options)
    arguments["prepare_threshold"] = None
    address = address.difference_update_query([PARAMETER])
    engine = make(address, connect_args=arguments, hide_parameters=True, **options)
    _set_in_each_transaction(engine, settings)
    return engine


def is_pooled(address: URL) -> bool:
    """Whether the URL names a PgBouncer in transaction mode."""
    return address.query.get(PARAMETER) == "true"


def _set_in_each_transaction(
    engine: Engine | AsyncEngine, server_settings: Mapping[str, str]
) -> None:
    # A default_… setting would not apply to the transaction that sets it. The tcp_… and client_…
    # settings concern PgBouncer's own sockets.
    local = {
        name.removeprefix("default_"): value
        for name, value in server_settings.items()
        if not name.startswith(("tcp_", "client_"))
    }
    if not local:
        return
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in local.items())
    statement = f"SELECT {calls}"

    def set_settings(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    sync_engine = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    event.listen(sync_engine, "begin", set_settings)
