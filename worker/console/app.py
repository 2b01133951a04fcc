"""Puts the console together: routes, login, headers, and what is said when something is wrong."""

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
from worker.console.pages import Pages, Replay
from worker.console.security import BasicLogin, SecurityHeaders, ask_for_login

# Without a login, only by this machine's own names: a stranger's may be made to lead here.
LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]", "::1")
_STATIC = Path(__file__).with_name("static")

log = structlog.get_logger(__name__)


def create_app(
    reports: ConsoleReports,
    *,
    logins: Sequence[str],
    replay: Replay | None,
    monotonic: Callable[[], float],
) -> ASGIApp:
    """Return the console as an ASGI application; without `logins` anybody on this machine may look.

    `replay` is None where nobody may replay.
    """
    pages = Pages(reports, replay=replay, monotonic=monotonic)
    app = Starlette(
        routes=[
            Route("/", pages.overview),
            Route("/sessions", pages.sessions),
            Route("/sessions/{session_id}", pages.session),
            Route("/deliveries/dead", pages.dead),
            Route("/deliveries/replay", pages.replay, methods=["POST"]),
            Route("/healthcheck", pages.healthcheck),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=[_door(logins)],
    )
    app.add_exception_handler(HTTPException, _refused(pages))
    app.add_exception_handler(SQLAlchemyError, _database_away(pages))
    return SecurityHeaders(app)


def _door(logins: Sequence[str]) -> Middleware:
    if not logins:
        return Middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK_HOSTS))
    return Middleware(AuthenticationMiddleware, backend=BasicLogin(logins), on_error=ask_for_login)


def _refused(pages: Pages) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        code = error.status_code if isinstance(error, HTTPException) else 500
        text = error.detail if isinstance(error, HTTPException) else "Something is wrong here."
        return pages.fault(request, code=code, text=text)

    return answer


def _database_away(pages: Pages) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        line = fault_line(error) if isinstance(error, DBAPIError) else None
        # Its own text would repeat the statement's parameters.
        log.warning("console_database_unavailable", error=type(error).__name__, shown=line)
        return pages.fault(request, code=503, text=line or "Postgres does not answer.")

    return answer
