"""Addresses in the environment, parsed by the libraries that will connect to them.

No fault repeats an address: it may contain a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from redis.connection import parse_url
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

_ORIGIN = re.compile(
    r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@\\:\[\]]+)(:(?P<port>[0-9]{1,5}))?", re.ASCII
)
_HIGHEST_PORT = 65_535
_NO_URL = "is not a valid URL: escape special characters of a password"


def utf_8(value: str) -> str:
    """Return the value, where it is UTF-8; Python reads other bytes as surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be text in UTF-8") from None
    return value


def _origin(value: str) -> str:
    # Not urlsplit: its errors repeat the value, which may contain a password.
    match = _ORIGIN.fullmatch(value)
    if match is None or int(match["port"] or 0) > _HIGHEST_PORT:
        raise ValueError(
            "must look like https://host or https://host:port: no path, no query, no user info"
        )
    return value


def _http_url(value: str) -> str:
    return _origin(value.rstrip("/"))


def _postgres_url(value: object) -> object:
    """Return any form of a Postgres URL as SQLAlchemy's, with the psycopg driver."""
    text = str(value)
    for prefix in ("postgres://", "postgresql://", "postgresql+psycopg://"):
        if text.startswith(prefix):
            url = _readable_url("postgresql+psycopg://" + text.removeprefix(prefix), make_url)
            if make_url(url).query.get("pgbouncer", "true") != "true":
                raise ValueError("pgbouncer must be true or absent")
            return url
    raise ValueError("must start with postgresql:// or postgres://")


def _readable_url(value: str, read: Callable[[str], object]) -> str:
    """Return the URL, if the library that will connect can parse it."""
    try:
        read(utf_8(value))
    except (ValueError, ArgumentError):
        # Not the error's text: it repeats the value, which may contain a password.
        raise ValueError(_NO_URL) from None
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.startswith(("redis://", "rediss://")):
        raise ValueError("must start with redis:// or rediss://")
    _readable_url(text, _port_of)
    _readable_url(text, parse_url)
    if "decode_responses" in parse_qs(urlsplit(text).query):
        # redis-py takes any text for true, and the worker reads bytes.
        raise ValueError("must not set decode_responses: remove it")
    return value


def _broker_url(value: SecretStr) -> SecretStr:
    """Any transport of kombu's, or several addresses between semicolons."""
    for url in value.get_secret_value().split(";"):
        _readable_url(url, _port_of)
    return value


def _port_of(url: str) -> int | None:
    return urlsplit(url).port


def _proxy_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    _readable_url(text, _port_of)
    if not urlsplit(text).hostname:
        raise ValueError("has no host")
    return value


def _webhook_url(value: SecretStr) -> SecretStr:
    """Check a URL that events are sent to; path and query may be secret, so all of it is."""
    text = value.get_secret_value()
    if not text.lower().startswith(("https://", "http://")):
        raise ValueError("must start with https://")
    # Imported only if there is a webhook: it is large, and beat does not need it.
    import httpx  # noqa: PLC0415

    try:
        httpx.URL(utf_8(text))
    except httpx.InvalidURL:
        raise ValueError(_NO_URL) from None
    _readable_url(text, _port_of)
    parts = urlsplit(text)
    if not parts.hostname or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("is not a valid URL")
    if "@" in parts.netloc:
        raise ValueError("must not contain user info: requests are signed, see docs/events.md")
    if "#" in text:
        raise ValueError("must not contain a fragment: it is never sent")
    return value


Origin = Annotated[str, AfterValidator(_origin)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
PostgresUrl = Annotated[SecretStr, BeforeValidator(_postgres_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
BrokerUrl = Annotated[SecretStr, AfterValidator(_broker_url)]
ProxyUrl = Annotated[SecretStr, AfterValidator(_proxy_url)]
WebhookUrl = Annotated[SecretStr, AfterValidator(_webhook_url)]
