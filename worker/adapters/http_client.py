"""HTTP clients with bounded bodies, without cookies, redirects and state between requests.

The caller interprets the answers.
"""

from __future__ import annotations

import socket
import ssl
import zlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version

import aiohttp
import httpx
from aiohttp.connector import AddrInfoType

from worker.adapters.aiohttp_transport import SendOnceTransport, send_once

LARGEST_BODY = 256 * 1024
USER_AGENT = f"klarna-session-worker/{version('klarna-session-worker')}"
OWN_HEADERS = {
    "Accept": "application/json",
    # Compressed bodies are not requested. If one comes anyway, its size is bounded, too.
    "Accept-Encoding": "identity",
    "User-Agent": USER_AGENT,
}
# Above every in-flight limit that a deployment may set: claims are the limit.
_CONNECTIONS = 1000
_DNS_CACHE_SECONDS = 30
_RECEIVE_BUFFER = 16 * 1024
# A Retry-After of more than a day is taken for a mistake.
_LONGEST_WAIT_SECONDS = 86_400.0

# What the transport raises without a complete answer. It passes aiohttp's own errors on.
CONNECTION_ERRORS = (httpx.HTTPError, aiohttp.ClientError, OSError)
# What it raises for an answer that is not HTTP, such as one with two lengths.
INVALID_HTTP_ERRORS = (aiohttp.ClientResponseError,)
# What it raises for an answer or an address that cannot be parsed.
UNREADABLE_ERRORS = (httpx.InvalidURL, ValueError)


class AddressRefusedError(OSError):
    """This client must not connect to the address; nothing was sent."""


class UnreadableBodyError(Exception):
    """The body is too large, or its encoding is not supported."""


def open_client(
    *,
    context: ssl.SSLContext,
    headers: Mapping[str, str],
    may_connect: Callable[[str], bool] | None = None,
) -> httpx.AsyncClient:
    """Return a client without a timeout: the caller bounds the whole exchange.

    `may_connect` checks the address of every connection after its name was resolved. A refused
    connection fails with AddressRefusedError among the causes.
    """
    return httpx.AsyncClient(
        transport=open_transport(context=context, may_connect=may_connect),
        headers={**OWN_HEADERS, **headers},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        timeout=None,  # noqa: S113 - see the docstring
        trust_env=False,
    )


def open_transport(
    *,
    context: ssl.SSLContext,
    proxy_url: str | None = None,
    may_connect: Callable[[str], bool] | None = None,
) -> SendOnceTransport:
    """Return the transport of `open_client`, for callers that build whole requests themselves."""

    def checked_socket(address: AddrInfoType) -> socket.socket:
        if may_connect is not None and not may_connect(str(address[4][0])):
            raise AddressRefusedError("refused")
        return _socket(address)

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_CONNECTIONS,
                ssl=context,
                ttl_dns_cache=_DNS_CACHE_SECONDS,
                socket_factory=checked_socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(send_once,),
            trust_env=False,
            proxy=proxy_url,
        )

    # The session's context is used. Without `verify` the transport would create another one.
    return SendOnceTransport(verify=context, client=session)


def connection_fault(error: BaseException) -> str:
    """Return one word for a failed connection, safe to store.

    The transport raises the same error for all; the cause says which it was.
    """
    return type(error.__cause__ or error).__name__


async def bounded_body(response: httpx.Response) -> bytes:
    """Return the decoded body of at most 256 KiB, before and after decompression.

    Raises:
        UnreadableBodyError: it is larger, or encoded in something else than gzip or deflate.
    """
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise UnreadableBodyError("body is over 256 KiB")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return bytes(body)
    if encoding not in {"gzip", "deflate"}:
        raise UnreadableBodyError("unknown content encoding")
    return _inflate(bytes(body))


def asked_to_wait(headers: httpx.Headers) -> timedelta | None:
    """Return `Retry-After`, or None if it is missing, unreadable or longer than a day."""
    return sane_wait(retry_after(headers))


def retry_after(headers: httpx.Headers) -> float | None:
    """Return `Retry-After` in seconds, however long; the header is a number or a date."""
    value = headers.get("Retry-After", "")
    seconds = number(value)
    if seconds is None and value:
        seconds = _seconds_between(headers.get("Date", ""), value)
    return seconds


def sane_wait(seconds: float | None) -> timedelta | None:
    """Return `seconds` as a duration, or None if it is not positive or longer than a day."""
    if seconds is None or not 0 < seconds <= _LONGEST_WAIT_SECONDS:
        return None
    return timedelta(seconds=seconds)


def number(text: str) -> float | None:
    """Return the number in a header, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def _socket(address: AddrInfoType) -> socket.socket:
    """Return a socket with a small buffer: parsing takes far more memory than what it receives."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    return made


def _seconds_between(earlier: str, later: str) -> float | None:
    try:
        span = parsedate_to_datetime(later) - parsedate_to_datetime(earlier)
    except (ValueError, TypeError, OverflowError):
        return None
    return span.total_seconds()


def _inflate(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        body = unpacker.decompress(packed, LARGEST_BODY + 1)
    except zlib.error:
        raise UnreadableBodyError("body does not decompress") from None
    if len(body) > LARGEST_BODY:
        raise UnreadableBodyError("body is over 256 KiB")
    return body
