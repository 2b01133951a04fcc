"""Builds the console application: routes, login, headers, error pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from worker.adapters.postgres.error_messages import fault_line
from worker.adapters.postgres.reports.console import ConsoleReports
from worker.console.forms import Actions
from worker.console.pages import Pages
from worker.console.security import BasicLogin, SecurityHeaders, ask_for_login

# Without a login only this machine's own names are served, which prevents DNS rebinding.
LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]", "::1")
_STATIC = Path(__file__).with_name("static")

log = structlog.get_logger(__name__)


def create_app(
    reports: ConsoleReports,
    *,
    logins: Sequence[str],
    actions: Actions | None,
    monotonic: Callable[[], float],
) -> ASGIApp:
    """Return the console as an ASGI application; without `logins` it needs none.

    `actions` is None where no page may change anything.
    """
    pages = Pages(reports, actions=actions, monotonic=monotonic)
    app = Starlette(
        routes=[
            Route("/", pages.overview),
            Route("/sessions", pages.sessions),
            Route("/sessions/{session_id}", pages.session),
            Route("/deliveries/dead", pages.dead),
            Route("/deliveries/replay", pages.replay, methods=["POST"]),
            Route("/refused", pages.refused),
            Route("/refused/retry", pages.retry, methods=["POST"]),
            Route("/healthcheck", pages.healthcheck),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=[_authentication(logins)],
    )
    app.add_exception_handler(HTTPException, _refused(pages))
    app.add_exception_handler(SQLAlchemyError, _database_unavailable(pages))
    return SecurityHeaders(app)


def _authentication(logins: Sequence[str]) -> Middleware:
    if not logins:
        return Middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK_HOSTS))
    return Middleware(AuthenticationMiddleware, backend=BasicLogin(logins), on_error=ask_for_login)


def _refused(pages: Pages) -> Callable[[Request, Exception], Response]:
    def respond(request: Request, error: Exception) -> Response:
        code = error.status_code if isinstance(error, HTTPException) else 500
        text = error.detail if isinstance(error, HTTPException) else "Internal error."
        return pages.fault(request, code=code, text=text)

    return respond


def _database_unavailable(pages: Pages) -> Callable[[Request, Exception], Response]:
    def respond(request: Request, error: Exception) -> Response:
        line = fault_line(error) if isinstance(error, DBAPIError) else None
        # Not the error's text: it repeats the statement's parameters.
        log.warning("console_database_unavailable", error=type(error).__name__, shown=line)
        return pages.fault(request, code=503, text=line or "Postgres is unavailable.")

    return respond
