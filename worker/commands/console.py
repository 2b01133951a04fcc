"""console: the web pages, with the database and the logins of the settings."""

from __future__ import annotations

import ipaddress
from contextlib import ExitStack
from uuid import UUID

from sqlalchemy import create_engine

from config.settings import ConsoleSettings, load
from worker.adapters import clock
from worker.adapters.postgres.pgbouncer import open_engine
from worker.adapters.postgres.reports import replay as replaying
from worker.adapters.postgres.reports.console import ConsoleReports
from worker.adapters.postgres.reports.events import DeliveryFilter
from worker.commands.output import WRONG_USAGE, fail, say
from worker.console.app import create_app
from worker.console.pages import Replay, Replayed
from worker.console.serving import serve


def console(*, host: str, port: int) -> None:
    """Serve the console until it is told to stop."""
    settings = load(ConsoleSettings)
    if settings.console_unauthenticated and not _is_loopback(host):
        fail(
            f"CONSOLE_UNAUTHENTICATED: is for this machine alone, not for --host {host}: "
            "set CONSOLE_BASIC_AUTH instead.",
            code=WRONG_USAGE,
        )
    with ExitStack() as stack:
        app = create_app(
            stack.enter_context(ConsoleReports(settings.reading_url)),
            logins=settings.logins,
            replay=_replay(settings, stack),
            monotonic=clock.monotonic,
        )
        try:
            serve(app, host, port, listening=_tell)
        except OSError as error:
            fail(f"--port: cannot listen on {host}:{port}: {error.strerror}")


def _tell(origin: str) -> None:
    say(f"Console: {origin} (login: CONSOLE_BASIC_AUTH). Ctrl-C stops it.")


def _replay(settings: ConsoleSettings, stack: ExitStack) -> Replay | None:
    """What replays one delivery, where that is allowed, over the database's own role for it."""
    if not settings.console_replay:
        return None
    engine = open_engine(create_engine, settings.database_url.get_secret_value())
    stack.callback(engine.dispose)

    def replay(event_id: UUID, sink: str) -> Replayed:
        wanted = DeliveryFilter(event_id=event_id, sink=sink, state="dead")
        again = replaying.Replay(wanted=wanted, sinks=[sink])
        counted = again.count(engine)
        if counted.deliveries and sum(again.send(engine, counted)):
            return "sent"
        return "without_token" if counted.without_token else "nothing"

    return replay


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
