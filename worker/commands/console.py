"""console: serves the web pages with the database and logins of the settings."""

from __future__ import annotations

import ipaddress
from contextlib import ExitStack
from uuid import UUID

from sqlalchemy import Engine, create_engine

from config.settings import ConsoleSettings, load
from worker.adapters import clock
from worker.adapters.postgres.engine import CONNECT_TIMEOUT_SECONDS
from worker.adapters.postgres.pgbouncer import open_engine
from worker.adapters.postgres.refused import by_hand
from worker.adapters.postgres.reports import replay as replaying
from worker.adapters.postgres.reports.console import ConsoleReports
from worker.adapters.postgres.reports.events import DeliveryFilter
from worker.adapters.postgres.statement_deadline import end_hanging_statements
from worker.commands.output import WRONG_USAGE, fail, say
from worker.console.app import create_app
from worker.console.forms import Actions, Replayed
from worker.console.serving import serve


def console(*, host: str, port: int) -> None:
    """Serve the console until SIGINT or SIGTERM."""
    settings = load(ConsoleSettings)
    if settings.console_unauthenticated and not _is_loopback(host):
        fail(
            f"CONSOLE_UNAUTHENTICATED: works only on this machine, not with --host {host}: "
            "set CONSOLE_BASIC_AUTH instead.",
            code=WRONG_USAGE,
        )
    with ExitStack() as stack:
        app = create_app(
            stack.enter_context(ConsoleReports(settings.reading_url)),
            logins=settings.logins,
            actions=_actions(settings, stack),
            monotonic=clock.monotonic,
        )
        try:
            serve(app, host, port, listening=_announce)
        except OSError as error:
            fail(f"--port: cannot listen on {host}:{port}: {error.strerror}")


def _announce(origin: str) -> None:
    say(f"Console: {origin} (login: CONSOLE_BASIC_AUTH). Ctrl-C stops it.")


def _actions(settings: ConsoleSettings, stack: ExitStack) -> Actions | None:
    """Return what the buttons do; None where CONSOLE_REPLAY is not set."""
    if not settings.console_replay:
        return None
    engine = open_engine(
        create_engine,
        settings.database_url.get_secret_value(),
        connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS},
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
    )
    end_hanging_statements(engine, seconds=ConsoleReports.STATEMENT_SECONDS)
    stack.callback(engine.dispose)
    return _Actions(engine)


class _Actions:
    """Implements `Actions` with the role that may write."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def replay(self, event_id: UUID, sink: str) -> Replayed:
        """Make the dead-lettered delivery of an event to a sink due again."""
        wanted = DeliveryFilter(event_id=event_id, sink=sink, state="dead")
        again = replaying.Replay(wanted=wanted, sinks=[sink])
        counted = again.count(self._engine)
        if counted.deliveries and sum(again.send(self._engine, counted)):
            return "sent"
        return "without_token" if counted.without_token else "nothing"

    def retry(self, refused_id: int) -> bool:
        """Make a refused message due."""
        return bool(by_hand.retry(self._engine, [refused_id]))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
