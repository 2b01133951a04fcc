"""Who may look, what a browser may do with a page, and that a form was sent from our own page."""

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
# A page left open over lunch still works; one from last week does not.
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
    """Middleware: every answer says what a browser may not do with it, and is not kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, and add the headers to whatever begins an answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BasicLogin(AuthenticationBackend):
    """HTTP basic authentication against the logins of the settings, as Flower has it."""

    def __init__(self, logins: Sequence[str]) -> None:
        self._logins = [login.encode() for login in logins]

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """Return who it is.

        Raises:
            AuthenticationError: where nobody, or somebody unknown, is there.
        """
        if conn.url.path in OPEN_PATHS:
            return None
        given = _basic(conn.headers.get("Authorization"))
        if given is None:
            raise AuthenticationError("A login is needed.")
        # Every login is looked at: how long it takes tells nothing.
        matches = [secrets.compare_digest(given, login) for login in self._logins]
        if not any(matches):
            log.warning("console_login_refused", client=conn.client.host if conn.client else None)
            raise AuthenticationError("The login is wrong.")
        return AuthCredentials(["authenticated"]), SimpleUser(given.partition(b":")[0].decode())


def ask_for_login(_: HTTPConnection, error: AuthenticationError) -> Response:
    """Return 401, which makes a browser ask."""
    return PlainTextResponse(
        f"{error}\n",
        status_code=401,
        headers={"WWW-Authenticate": 'Basic realm="Klarna session worker", charset="UTF-8"'},
    )


class Csrf:
    """Signed double submit: a form repeats, signed, what a cookie says that others cannot send."""

    def __init__(self) -> None:
        # One process serves the console: its key need not outlive it.
        self._signer = URLSafeTimedSerializer(secrets.token_bytes(32), salt="console-form")

    def token(self, request: Request, response: Response) -> str:
        """Return what the form must repeat, and set the cookie where there is none."""
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
        """Whether the form was sent from a page that this browser got from this process."""
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
