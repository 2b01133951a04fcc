"""Reads payment sessions over HTTP: one request, one deadline, a bounded body, no memory between.

Credentials leave only to allowed origins, whatever way a session's URL came to be stored.
"""

from __future__ import annotations

import re
import socket
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version

import aiohttp
import anyio
import httpx
from aiohttp.connector import AddrInfoType
from httpx_aiohttp import AiohttpTransport

from worker.adapters.klarna.wire_models import parse_session
from worker.domain.errors import (
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
from worker.domain.session import Observation, PaymentSession
from worker.domain.tracking import check_session_url

LARGEST_BODY = 256 * 1024
USER_AGENT = f"klarna-session-worker/{version('klarna-session-worker')}"
# Above every in-flight limit a deployment is likely to set; the claim is what limits.
_CONNECTIONS = 1000
_DNS_CACHE_SECONDS = 30
_RECEIVE_BUFFER = 16 * 1024
_CORRELATION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# RFC 9110: a number of seconds; longer than a day is no instruction, it is a mistake.
_LONGEST_WAIT_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one account authenticates with."""

    username: str
    password: str = field(repr=False)


class HttpxKlarna:
    """Implements the port `Klarna`: an `httpx.AsyncClient` per account over aiohttp's transport."""

    def __init__(
        self,
        accounts: Mapping[str, Credentials],
        *,
        allowed_origins: Collection[str],
        timeout: timedelta,
        proxy_url: str | None = None,
    ) -> None:
        self._allowed_origins = allowed_origins
        self._timeout = timeout.total_seconds()
        self._ssl = httpx.create_ssl_context()
        self._clients = {
            name: self._client(credentials, proxy_url) for name, credentials in accounts.items()
        }

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    async def read(self, session: PaymentSession) -> Observation:
        """Answer what Klarna says now, or raise the ObservationError it amounts to."""
        client = self._clients.get(session.account)
        if client is None:
            raise AccountRefusedError("no credentials are configured for this account")
        self._check_origin(session)
        try:
            with anyio.fail_after(self._timeout):
                return await self._exchange(client, session)
        except TimeoutError:
            raise DeadlineExceededError(f"no whole answer within {self._timeout:g} s") from None
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            # The transport calls every failed connection a timeout; what it was is the cause.
            raise ConnectionFailedError(type(error.__cause__ or error).__name__) from None
        except (httpx.InvalidURL, ValueError) as error:
            raise ProtocolError(f"unreadable answer: {type(error).__name__}") from None

    def _check_origin(self, session: PaymentSession) -> None:
        try:
            check_session_url(
                session.session_url,
                session_id=session.session_id,
                allowed_origins=self._allowed_origins,
            )
        except InvalidArgumentError as error:
            raise OriginNotAllowedError(str(error)) from None

    async def _exchange(self, client: httpx.AsyncClient, session: PaymentSession) -> Observation:
        async with client.stream("GET", session.session_url) as response:
            _raise_for_status(response)
            body = await _bounded_body(response)
        return parse_session(body, kind=session.kind, session_id=session.session_id)

    def _client(self, credentials: Credentials, proxy_url: str | None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=AiohttpTransport(client=lambda: self._aiohttp_session(proxy_url)),
            auth=httpx.BasicAuth(credentials.username, credentials.password),
            headers={
                "Accept": "application/json",
                # Nothing compressed is asked for; what comes so all the same is read bounded.
                "Accept-Encoding": "identity",
                "Cache-Control": "no-cache",
                "User-Agent": USER_AGENT,
            },
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            timeout=None,  # noqa: S113 - `read` bounds the whole exchange, with one deadline
            trust_env=False,
        )

    def _aiohttp_session(self, proxy_url: str | None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_CONNECTIONS,
                ssl=self._ssl,
                ttl_dns_cache=_DNS_CACHE_SECONDS,
                socket_factory=_socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            proxy=proxy_url,
        )


def _socket(address: AddrInfoType) -> socket.socket:
    """A socket that takes in little at a time, whatever floods it: what is parsed is far larger."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    return made


def _raise_for_status(response: httpx.Response) -> None:
    """Raise the error that any status but 200 stands for; its body is never looked at."""
    code = response.status_code
    correlation_id = _correlation_id(response.headers)
    match code:
        case 200:
            return
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
    """`Retry-After` in seconds or as a date, else `X-Ratelimit-Reset` (seconds), else None."""
    asked = headers.get("Retry-After", "")
    seconds = _number(asked)
    if seconds is None and asked:
        seconds = _seconds_between(headers.get("Date", ""), asked)
    if seconds is None:
        seconds = _number(headers.get("X-Ratelimit-Reset", ""))
    if seconds is None or not 0 < seconds <= _LONGEST_WAIT_SECONDS:
        return None
    return timedelta(seconds=seconds)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _seconds_between(earlier: str, later: str) -> float | None:
    try:
        span = parsedate_to_datetime(later) - parsedate_to_datetime(earlier)
    except (ValueError, TypeError, OverflowError):
        return None
    return span.total_seconds()


async def _bounded_body(response: httpx.Response) -> bytes:
    """Answer the body, decoded, of 256 KiB at most however it was packed."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise ProtocolError("body is over 256 KiB", status_code=response.status_code)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return bytes(body)
    if encoding not in {"gzip", "deflate"}:
        raise ProtocolError("unknown content encoding", status_code=response.status_code)
    return _inflate(bytes(body), response.status_code)


def _inflate(packed: bytes, status_code: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        body = unpacker.decompress(packed, LARGEST_BODY + 1)
    except zlib.error:
        raise ProtocolError("body does not decompress", status_code=status_code) from None
    if len(body) > LARGEST_BODY:
        raise ProtocolError("body is over 256 KiB", status_code=status_code)
    return body
