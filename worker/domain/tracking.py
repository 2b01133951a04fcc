"""What a `track` call makes of a payment session that is tracked already."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from worker.domain.errors import ConflictError, InvalidArgumentError
from worker.domain.session import Kind, PaymentSession, ShopObjects

# RFC 3986 unreserved characters: an id is one URL path segment, unescaped.
SESSION_ID_PATTERN = r"[A-Za-z0-9._~-]{1,128}"
_SESSION_ID = re.compile(SESSION_ID_PATTERN)
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_DOTS = {".", ".."}
LONGEST_REFERENCE = 255
# Klarna's own have 100; many servers refuse a request line of more than 8,000.
LONGEST_URL = 2048
# Of a session that is tracked without an account.
DEFAULT_ACCOUNT = "default"


class TrackEffect(StrEnum):
    """What tracking does to the stored payment session."""

    CREATED = "created"
    NUDGED = "nudged"
    REOPENED = "reopened"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class _CheckedArguments:
    """The arguments of `track`. Every other list of them derives from this one or is tested."""

    session_id: str
    session_url: str | None = None
    expires_at: datetime | None = None
    account: str | None = None
    kind: Kind | None = None
    reference: str | None = None


# In their order: the task and the SQL function take them by position, too.
TRACK_ARGUMENTS = tuple(field.name for field in fields(_CheckedArguments))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRequest(_CheckedArguments):
    """A checked call of `track`; None means that the shop did not say.

    `trace_parent` is the trace that a new session belongs to.
    """

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


def apply_track(
    existing: PaymentSession,
    request: TrackRequest,
    *,
    now: datetime,
    session_url_for: Callable[[str, Kind], str],
) -> tuple[PaymentSession, TrackEffect]:
    """Return a tracked payment session as another `track` leaves it.

    Absent arguments change nothing. A given one may set what is unset, and may correct a session
    that was never read with 200. `shop_objects` may be set at any time, even when the session is
    finished: its event may wait for them. `session_url_for` returns the documented URL of this
    session id for an account and a kind.

    Raises:
        ConflictError: naming the argument that contradicts a session read at Klarna before.
    """
    existing = _with_shop_objects(existing, request)
    if _is_final(existing):
        return existing, TrackEffect.UNCHANGED
    nudged = replace(_correct(existing, request, session_url_for), nudged_at=now, next_poll_at=now)
    if existing.outcome is None:
        return nudged, TrackEffect.NUDGED
    # A guessed outcome is confirmed at the address where it was made, not at another one.
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
    """Return a tracked payment session as a line of a list leaves it.

    As `apply_track`, but a line that changes nothing does not cause a poll: reading the same list
    again would otherwise poll thousands at once.

    Raises:
        ConflictError: as `apply_track`.
    """
    if _is_final(existing) or not _contradictions(existing, request):
        return existing, TrackEffect.UNCHANGED
    return apply_track(existing, request, now=now, session_url_for=session_url_for)


def _is_final(session: PaymentSession) -> bool:
    """Whether Klarna reported the outcome."""
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
    # Looked up only if needed: the stored account may have left the settings.
    if "session_url" not in given and existing.session_url:
        documented = session_url_for(existing.account, existing.kind)
        if existing.session_url == documented:
            url = session_url_for(corrected.account, corrected.kind)
            corrected = replace(corrected, session_url=url)
    # Failures at the old address say nothing about the new one.
    return replace(
        corrected,
        consecutive_failures=0,
        not_found_count=0,
        not_found_since=None,
        last_error=None,
    )


def _with_shop_objects(existing: PaymentSession, request: TrackRequest) -> PaymentSession:
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


def _is_same(given: object, known: object) -> bool:
    """Compare; times to the minute, as Klarna may round them differently on creation and read."""
    if isinstance(given, datetime) and isinstance(known, datetime):
        return abs(given - known) < timedelta(minutes=1)
    return given == known


def _contradictions(existing: PaymentSession, request: TrackRequest) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for field in TRACK_ARGUMENTS:
        value, known = getattr(request, field), getattr(existing, field)
        if value is None or _is_same(value, known):
            continue
        # Tracked in SQL without a URL, and read at the documented one: it stays there.
        if known == "" and existing.status is not None:
            continue
        if existing.status is not None and known is not None:
            raise ConflictError(field, "contradicts what this session was tracked with")
        given[field] = value
    return given
