"""Reads payment sessions over HTTP: one request with one deadline and a bounded body.

Credentials are sent to the origins of their account only, wherever a session's URL comes from.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio
import httpx

from worker.adapters import http_client
from worker.adapters.klarna.rate_limit import read_quota
from worker.adapters.klarna.wire_models import parse_session
from worker.domain.errors import (
    AccountNotConfiguredError,
    AccountRefusedError,
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidArgumentError,
    OriginNotAllowedError,
    ProtocolError,
    RateLimitedError,
    ServerError,
    SessionNotFoundError,
)
from worker.domain.session import Kind, Observation, PaymentSession
from worker.domain.session_addresses import check_session_url, default_session_url, located

LARGEST_BODY = http_client.LARGEST_BODY
_CORRELATION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The login of one account, and the base URL of sessions that are tracked without a URL."""

    username: str
    password: str = field(repr=False)
    base_url: str = ""


class HttpxKlarna:
    """Implements the port `Klarna`, with an httpx transport (aiohttp's) per account.

    It builds whole requests. What `httpx.AsyncClient` does in addition (merging URLs, headers and
    cookies, redirects, authentication) took as long as the exchange itself. `allowed_origins` are
    those of each account.
    """

    def __init__(
        self,
        accounts: Mapping[str, Credentials],
        *,
        allowed_origins: Mapping[str, Collection[str]],
        timeout: timedelta,
        proxy_url: str | None = None,
    ) -> None:
        self._allowed_origins = allowed_origins
        self._timeout = timeout.total_seconds()
        context = httpx.create_ssl_context()
        self._base_urls = {name: account.base_url for name, account in accounts.items()}
        self._headers = {name: _headers(account) for name, account in accounts.items()}
        self._transports = {
            name: http_client.open_transport(context=context, proxy_url=proxy_url)
            for name in accounts
        }

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._transports.values():
            await transport.aclose()

    async def read(self, session: PaymentSession) -> Observation:
        """Return what Klarna says now; raises an ObservationError."""
        if session.account not in self._transports:
            raise AccountNotConfiguredError
        session = located(session, self._documented_url)
        self._check_origin(session)
        try:
            with anyio.fail_after(self._timeout):
                return await self._exchange(session)
        except TimeoutError:
            raise DeadlineExceededError(f"no whole answer within {self._timeout:g} s") from None
        except http_client.INVALID_HTTP_ERRORS:
            raise ProtocolError("answer is not valid HTTP") from None
        except http_client.CONNECTION_ERRORS as error:
            raise ConnectionFailedError(http_client.connection_fault(error)) from None
        except http_client.UNREADABLE_ERRORS as error:
            raise ProtocolError(f"unreadable answer: {type(error).__name__}") from None

    def _documented_url(self, account: str, kind: Kind, session_id: str) -> str:
        return default_session_url(self._base_urls[account], kind, session_id)

    def _check_origin(self, session: PaymentSession) -> None:
        try:
            check_session_url(
                session.session_url,
                session_id=session.session_id,
                allowed_origins=self._allowed_origins[session.account],
            )
        except InvalidArgumentError as error:
            raise OriginNotAllowedError(str(error)) from None

    async def _exchange(self, session: PaymentSession) -> Observation:
        account = session.account
        request = httpx.Request("GET", session.session_url, headers=self._headers[account])
        async with aclosing(
            await self._transports[account].handle_async_request(request)
        ) as response:
            _raise_for_status(response)
            body = await _bounded_body(response)
        seen = parse_session(body, kind=session.kind, session_id=session.session_id)
        return replace(
            seen,
            read_quota=read_quota(response.headers),
            correlation_id=_correlation_id(response.headers),
        )


def _headers(credentials: Credentials) -> httpx.Headers:
    """Return the headers. httpx.Headers hides the authorization in its representation."""
    login = f"{credentials.username}:{credentials.password}".encode()
    return httpx.Headers(
        {
            **http_client.OWN_HEADERS,
            "Cache-Control": "no-cache",
            "Authorization": f"Basic {b64encode(login).decode()}",
        }
    )


def _raise_for_status(response: httpx.Response) -> None:
    """Raise the error of any status but 200, without reading the body."""
    code = response.status_code
    if code == 200:  # noqa: PLR2004 - RFC 9110: OK
        return
    correlation_id = _correlation_id(response.headers)
    match code:
        case 401 | 403:
            raise AccountRefusedError(status_code=code, correlation_id=correlation_id)
        case 404:
            raise SessionNotFoundError(status_code=code, correlation_id=correlation_id)
        case 429:
            raise RateLimitedError(
                retry_after=_retry_after(response.headers), correlation_id=correlation_id
            )
    if code >= 500:  # noqa: PLR2004 - RFC 9110: server errors
        raise ServerError(status_code=code, correlation_id=correlation_id)
    detail = "redirects are not followed" if response.is_redirect else "undocumented answer"
    raise ProtocolError(detail, status_code=code, correlation_id=correlation_id)


def _correlation_id(headers: httpx.Headers) -> str | None:
    value = headers.get("Klarna-Correlation-Id", "")
    return value if _CORRELATION_ID.fullmatch(value) else None


def _retry_after(headers: httpx.Headers) -> timedelta | None:
    """Return `Retry-After`, or else `X-Ratelimit-Reset` in seconds."""
    seconds = http_client.retry_after(headers)
    if seconds is None:
        seconds = http_client.number(headers.get("X-Ratelimit-Reset", ""))
    return http_client.sane_wait(seconds)


async def _bounded_body(response: httpx.Response) -> bytes:
    try:
        return await http_client.bounded_body(response)
    except http_client.UnreadableBodyError as error:
        raise ProtocolError(str(error), status_code=response.status_code) from None
