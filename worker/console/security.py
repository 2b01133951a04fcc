"""Logins, security headers, and protection of forms against cross-site requests."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence
from typing import Final

import structlog
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
)
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS: Final = frozenset({"/healthcheck"})
CSRF_COOKIE: Final = "console_csrf"
# A page that is open for longer must be reloaded before its form works.
CSRF_SECONDS: Final = 4 * 3600

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

log = structlog.get_logger(__name__)


class SecurityHeaders:
    """Middleware: adds security headers to every response and forbids caching it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, and add the headers to the response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BasicLogin(AuthenticationBackend):
    """HTTP basic authentication with the logins of the settings."""

    def __init__(self, logins: Sequence[str]) -> None:
        self._logins = [login.encode() for login in logins]

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """Return the authenticated user; None for open paths.

        Raises:
            AuthenticationError: no login or a wrong one.
        """
        if conn.url.path in OPEN_PATHS:
            return None
        given = _basic(conn.headers.get("Authorization"))
        if given is None:
            raise AuthenticationError("Login required.")
        # All logins are compared, so that the time reveals nothing.
        matches = [secrets.compare_digest(given, login) for login in self._logins]
        if not any(matches):
            log.warning("console_login_refused", client=conn.client.host if conn.client else None)
            raise AuthenticationError("Wrong login.")
        return AuthCredentials(["authenticated"]), SimpleUser(given.partition(b":")[0].decode())


def ask_for_login(_: HTTPConnection, error: AuthenticationError) -> Response:
    """Return 401, so that the browser asks for a login."""
    return PlainTextResponse(
        f"{error}\n",
        status_code=401,
        headers={"WWW-Authenticate": 'Basic realm="Klarna session worker", charset="UTF-8"'},
    )


class Csrf:
    """Signed double submit: the form repeats the signed value of a same-site cookie."""

    def __init__(self) -> None:
        # One process serves the console, so its key need not be stored.
        self._signer = URLSafeTimedSerializer(secrets.token_bytes(32), salt="console-form")

    def token(self, request: Request, response: Response) -> str:
        """Return the form's token and set the cookie."""
        known = request.cookies.get(CSRF_COOKIE) or secrets.token_urlsafe(24)
        response.set_cookie(
            CSRF_COOKIE,
            known,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return self._signer.dumps(known)

    def is_ours(self, request: Request, token: str) -> bool:
        """Whether the form comes from a page that this process served to this browser."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            return False
        cookie = request.cookies.get(CSRF_COOKIE)
        if not cookie:
            return False
        try:
            signed = self._signer.loads(token, max_age=CSRF_SECONDS)
        except BadSignature:
            return False
        return secrets.compare_digest(str(signed).encode(), cookie.encode())


def _basic(header: str | None) -> bytes | None:
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        given = base64.b64decode(encoded, validate=True)
        given.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return given
