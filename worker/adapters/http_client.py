"""How this project speaks HTTP to others: bounded bodies, no cookies, no redirects, no memory.

It sets up clients and reads answers; what an answer means is for who asked.
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
from httpx_aiohttp import AiohttpTransport

LARGEST_BODY = 256 * 1024
USER_AGENT = f"klarna-session-worker/{version('klarna-session-worker')}"
OWN_HEADERS = {
    "Accept": "application/json",
    # Nothing compressed is asked for; what comes so all the same is read bounded.
    "Accept-Encoding": "identity",
    "User-Agent": USER_AGENT,
}
# Above every in-flight limit a deployment is likely to set; claims are what limits.
_CONNECTIONS = 1000
_DNS_CACHE_SECONDS = 30
_RECEIVE_BUFFER = 16 * 1024
# RFC 9110: a number of seconds; longer than a day is no instruction, it is a mistake.
_LONGEST_WAIT_SECONDS = 86_400.0

# What the transport raises where no whole answer came: it lets aiohttp's own errors through.
CONNECTION_ERRORS = (httpx.HTTPError, aiohttp.ClientError, OSError)
# What it raises over an answer, or an address, that cannot be read.
UNREADABLE_ERRORS = (httpx.InvalidURL, ValueError)


class AddressRefusedError(OSError):
    """The address lies where this client must not connect to: nothing was sent."""


class UnreadableBodyError(Exception):
    """A body that is too large or packed in a way nobody asked for; the text says which."""


def open_client(
    *,
    context: ssl.SSLContext,
    headers: Mapping[str, str],
    may_connect: Callable[[str], bool] | None = None,
) -> httpx.AsyncClient:
    """Return a client without a timeout of its own: whoever asks bounds the whole exchange.

    `may_connect` is asked of the very address of every connection, whatever its name resolved to
    before: what it refuses fails with AddressRefusedError among the causes.
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
) -> AiohttpTransport:
    """Return what `open_client` speaks through, for who sends whole requests and needs no more."""

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
            trust_env=False,
            proxy=proxy_url,
        )

    # Told of the context, it makes none of its own; the session's is what counts.
    return AiohttpTransport(verify=context, client=session)


def connection_fault(error: BaseException) -> str:
    """Return one word for a failed connection, safe to store.

    The transport calls every one a timeout; what it was is the cause.
    """
    return type(error.__cause__ or error).__name__


async def bounded_body(response: httpx.Response) -> bytes:
    """Return the body, decoded, of 256 KiB at most however it was packed.

    Raises:
        UnreadableBodyError: it is larger, or packed otherwise than in gzip or deflate.
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
    """Return `Retry-After`, where it names a wait of a day at most."""
    return sane_wait(retry_after(headers))


def retry_after(headers: httpx.Headers) -> float | None:
    """Return `Retry-After` in seconds, however long; it may be a number or a date."""
    asked = headers.get("Retry-After", "")
    seconds = number(asked)
    if seconds is None and asked:
        seconds = _seconds_between(headers.get("Date", ""), asked)
    return seconds


def sane_wait(seconds: float | None) -> timedelta | None:
    """Return `seconds` as a wait, None where it is none or longer than a day."""
    if seconds is None or not 0 < seconds <= _LONGEST_WAIT_SECONDS:
        return None
    return timedelta(seconds=seconds)


def number(text: str) -> float | None:
    """Return the number that a header holds, None where it holds none."""
    try:
        return float(text)
    except ValueError:
        return None


def _socket(address: AddrInfoType) -> socket.socket:
    """A socket that takes in little at a time, whatever floods it: what is parsed is far larger."""
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
