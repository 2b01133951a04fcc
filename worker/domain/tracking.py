"""What a `track` call means for what is already known: checked arguments, pure decisions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from worker.domain.errors import ConflictError, InvalidArgumentError
from worker.domain.session import Kind, PaymentSession, ShopObjects

# RFC 3986 unreserved characters: an id is one URL path segment, as it stands.
_SESSION_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_DOTS = {".", ".."}
LONGEST_REFERENCE = 255
DEFAULT_ACCOUNT = "default"
# Klarna's own have 100; many servers refuse a request line of more than 8,000.
LONGEST_URL = 2048


class TrackEffect(StrEnum):
    """What tracking does to the stored payment session."""

    CREATED = "created"
    NUDGED = "nudged"
    REOPENED = "reopened"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRequest:
    """Checked arguments of `track`; None means the shop did not say.

    `trace_parent` is the trace that a new session belongs to.
    """

    session_id: str
    session_url: str | None = None
    expires_at: datetime | None = None
    account: str | None = None
    kind: Kind | None = None
    reference: str | None = None
    shop_objects: ShopObjects | None = None
    trace_parent: str | None = None


def check_session_id(value: object) -> str:
    """Return a payment session id that is safe as a URL path segment.

    Raises:
        InvalidArgumentError: on anything else.
    """
    if value is None or value == "":
        raise InvalidArgumentError("session_id", "is missing")
    if not isinstance(value, str) or not _SESSION_ID.fullmatch(value) or value in _DOTS:
        raise InvalidArgumentError(
            "session_id", "must be 1 to 128 letters, digits, dots, hyphens, underscores or tildes"
        )
    return value


def check_session_url(value: object, *, session_id: str, allowed_origins: Collection[str]) -> str:
    """Return a URL that credentials may be sent to.

    The check is on the text as it is sent: it must begin with an allowed origin as written, and
    go on in plain path segments of which the last is the session id. So no user info, other
    port, query, fragment, backslash, encoded or relative part can be in it.

    Raises:
        InvalidArgumentError: on anything else; its text does not repeat the URL.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError("session_url", "must be text")
    if len(value) > LONGEST_URL:
        raise InvalidArgumentError("session_url", f"must have at most {LONGEST_URL} characters")
    origin = next((o for o in allowed_origins if value.startswith(f"{o}/")), None)
    if origin is None:
        raise InvalidArgumentError(
            "session_url", "is not on an allowed origin (KLARNA_ALLOWED_ORIGINS)"
        )
    path = value.removeprefix(origin)
    if not _PATH.fullmatch(path) or not _DOTS.isdisjoint(path.split("/")):
        raise InvalidArgumentError(
            "session_url", "must be a plain path: no query, fragment, user info or escapes"
        )
    if path.rpartition("/")[2] != session_id:
        raise InvalidArgumentError("session_url", "must end in the session id")
    return value


def default_session_url(base_url: str, kind: Kind, session_id: str) -> str:
    """Return where Klarna documents the read of a session that only its id is known of."""
    path = "hpp/v1/sessions" if kind is Kind.HPP else "payments/v1/sessions"
    return f"{base_url}/{path}/{session_id}"


def located(
    session: PaymentSession, session_url_for: Callable[[str, Kind, str], str]
) -> PaymentSession:
    """Return `session` with the URL it is read at: tracked in SQL, it may have none yet."""
    if session.session_url:
        return session
    url = session_url_for(session.account, session.kind, session.session_id)
    return replace(session, session_url=url)


def apply_track(
    existing: PaymentSession,
    request: TrackRequest,
    *,
    now: datetime,
    session_url_for: Callable[[str, Kind], str],
) -> tuple[PaymentSession, TrackEffect]:
    """Return what tracking a known payment session again makes of it.

    Absent arguments change nothing. A given one may fill what was never said, and may correct a
    session that was never read with 200. What a sink calls a payment may be said at any time, for
    a finished session too: its event may be waiting for just that. `session_url_for` answers the
    documented URL of this session id for an account and a kind.

    Raises:
        ConflictError: naming the argument that contradicts a session read at Klarna before.
    """
    existing = _named(existing, request)
    if _is_final(existing):
        return existing, TrackEffect.UNCHANGED
    nudged = replace(_correct(existing, request, session_url_for), nudged_at=now, next_poll_at=now)
    if existing.outcome is None:
        return nudged, TrackEffect.NUDGED
    # A guess is confirmed where it was made; at another address it would be a new one.
    moved = (nudged.account, nudged.session_url) != (existing.account, existing.session_url)
    guessed = None if moved else existing.outcome
    reopened = replace(nudged, outcome=None, finished_at=None, guessed_outcome=guessed)
    return reopened, TrackEffect.REOPENED


def apply_bulk_track(
    existing: PaymentSession,
    request: TrackRequest,
    *,
    now: datetime,
    session_url_for: Callable[[str, Kind], str],
) -> tuple[PaymentSession, TrackEffect]:
    """Return what a line of a list makes of a known payment session.

    As `apply_track`, but a session that the line says nothing new of is left alone: the same list
    may be read again, and thousands are not polled at once for it.

    Raises:
        ConflictError: as `apply_track`.
    """
    if _is_final(existing) or not _contradictions(existing, request):
        return existing, TrackEffect.UNCHANGED
    return apply_track(existing, request, now=now, session_url_for=session_url_for)


def _is_final(session: PaymentSession) -> bool:
    """Whether it ended by a word of Klarna's."""
    return session.outcome is not None and not session.outcome.is_guess


def _correct(
    existing: PaymentSession,
    request: TrackRequest,
    session_url_for: Callable[[str, Kind], str],
) -> PaymentSession:
    given = _contradictions(existing, request)
    if not given:
        return existing
    corrected = replace(existing, **given)
    if given.keys().isdisjoint({"session_url", "account", "kind"}):
        return corrected
    # Asked only where it matters: the account tracked first may be configured no longer.
    if "session_url" not in given and existing.session_url:
        documented = session_url_for(existing.account, existing.kind)
        if existing.session_url == documented:
            url = session_url_for(corrected.account, corrected.kind)
            corrected = replace(corrected, session_url=url)
    # Another address: what failed at the old one says nothing about it.
    return replace(
        corrected,
        consecutive_failures=0,
        not_found_count=0,
        not_found_since=None,
        last_error=None,
    )


def _named(existing: PaymentSession, request: TrackRequest) -> PaymentSession:
    """The session with what sinks call its payment, as the shop now says of one."""
    if request.shop_objects is None:
        return existing
    joined = dict(existing.shop_objects or {})
    for sink, given in request.shop_objects.items():
        known = joined.get(sink, {})
        contradicts = any(known.get(name, value) != value for name, value in given.items())
        if contradicts and existing.status is not None:
            raise ConflictError(sink, "is not the payment that this session was tracked with")
        joined[sink] = dict(given) if contradicts else {**known, **given}
    return replace(existing, shop_objects=joined)


def _says_the_same(given: object, known: object) -> bool:
    """Times to the minute: what creation said and what a read says may be rounded otherwise."""
    if isinstance(given, datetime) and isinstance(known, datetime):
        return abs(given - known) < timedelta(minutes=1)
    return given == known


def _contradictions(existing: PaymentSession, request: TrackRequest) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for field in ("session_url", "expires_at", "account", "kind", "reference"):
        value, known = getattr(request, field), getattr(existing, field)
        if value is None or _says_the_same(value, known):
            continue
        # Tracked in SQL without a URL, and read: at the documented one, where it goes on.
        if known == "" and existing.status is not None:
            continue
        if existing.status is not None and known is not None:
            raise ConflictError(field, "contradicts what this session was tracked with")
        given[field] = value
    return given
