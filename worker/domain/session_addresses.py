"""The id of a payment session, and the URL that it is read at. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from uuid import UUID

from worker.domain.errors import InvalidArgumentError
from worker.domain.session import Kind, PaymentSession

# RFC 3986 unreserved characters: an id is one URL path segment, unescaped.
SESSION_ID_PATTERN = r"[A-Za-z0-9._~-]{1,128}"
_SESSION_ID = re.compile(SESSION_ID_PATTERN)
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_DOTS = {".", ".."}
_ID_BITS = 128
# Klarna's own have 100; many servers refuse a request line of more than 8,000.
LONGEST_URL = 2048
OTHER_ORIGIN = (
    "is not on an allowed origin of its account (KLARNA_BASE_URL, KLARNA_ALLOWED_ORIGINS)"
)


def as_text(value: object) -> object:
    """Return an id as text if it came as an integer or a UUID; Celery's JSON keeps both types."""
    if isinstance(value, UUID):
        return str(value)
    # Python refuses to write very long ones.
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= _ID_BITS:
        return str(value)
    return value


def check_session_id(value: object) -> str:
    """Return a payment session id that is safe as a URL path segment.

    Raises:
        InvalidArgumentError: on anything else.
    """
    value = as_text(value)
    if value is None or value == "":
        raise InvalidArgumentError("session_id", "is missing")
    if not isinstance(value, str) or not _SESSION_ID.fullmatch(value) or value in _DOTS:
        raise InvalidArgumentError(
            "session_id", "must be 1 to 128 letters, digits, dots, hyphens, underscores or tildes"
        )
    return value


def check_session_url(value: object, *, session_id: str, allowed_origins: Collection[str]) -> str:
    """Return a URL that credentials may be sent to.

    The text itself is checked, not its parts: an allowed origin as written, then plain path
    segments, the last of which is the session id. That leaves no place for user info, another
    port, a query, a fragment, a backslash, an encoded or a relative part.

    Raises:
        InvalidArgumentError: on anything else; its text does not repeat the URL.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError("session_url", "must be text")
    if len(value) > LONGEST_URL:
        raise InvalidArgumentError("session_url", f"must have at most {LONGEST_URL} characters")
    origin = _origin(value, allowed_origins)
    if origin is None:
        raise InvalidArgumentError("session_url", OTHER_ORIGIN)
    path = value.removeprefix(origin)
    if not _PATH.fullmatch(path) or not _DOTS.isdisjoint(path.split("/")):
        raise InvalidArgumentError(
            "session_url", "must be a plain path: no query, fragment, user info or escapes"
        )
    if path.rpartition("/")[2] != session_id:
        raise InvalidArgumentError("session_url", "must end in the session id")
    return value


def foreign_accounts(session_url: str, origins: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Return the accounts whose credentials may not go to the URL; `origins` are theirs."""
    return frozenset(
        account for account, allowed in origins.items() if _origin(session_url, allowed) is None
    )


def _origin(session_url: str, allowed_origins: Collection[str]) -> str | None:
    return next((o for o in allowed_origins if session_url.startswith(f"{o}/")), None)


def default_session_url(base_url: str, kind: Kind, session_id: str) -> str:
    """Return the documented URL of a session whose shop did not give one."""
    path = "hpp/v1/sessions" if kind is Kind.HPP else "payments/v1/sessions"
    return f"{base_url}/{path}/{session_id}"


def located(
    session: PaymentSession, session_url_for: Callable[[str, Kind, str], str]
) -> PaymentSession:
    """Return `session` with the URL it is read at. Tracked in SQL, it may have none yet."""
    if session.session_url:
        return session
    url = session_url_for(session.account, session.kind, session.session_id)
    return replace(session, session_url=url)
