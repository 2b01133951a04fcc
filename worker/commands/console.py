"""console: the web pages, with the database and the logins of the settings."""

from __future__ import annotations

import ipaddress

from config.settings import ConsoleSettings, load
from worker.adapters import clock
from worker.adapters.postgres.console_reports import ConsoleReports
from worker.commands.output import WRONG_USAGE, fail, say
from worker.console.app import create_app
from worker.console.pages import Replay
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
    with ConsoleReports(settings.reading_url) as reports:
        app = create_app(
            reports,
            logins=settings.logins,
            replay=_replay(settings),
            monotonic=clock.monotonic,
        )
        try:
            serve(app, host, port, listening=_tell)
        except OSError as error:
            fail(f"--port: cannot listen on {host}:{port}: {error.strerror}")


def _tell(origin: str) -> None:
    say(f"Console: {origin} (login: CONSOLE_BASIC_AUTH). Ctrl-C stops it.")


def _replay(_: ConsoleSettings) -> Replay | None:
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
