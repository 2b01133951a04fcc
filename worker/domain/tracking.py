"""What a `track` call makes of a payment session that is tracked already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from worker.domain.errors import ConflictError, InvalidArgumentError
from worker.domain.session import Kind, PaymentSession, ShopObjects
from worker.domain.session_addresses import OTHER_ORIGIN

LONGEST_REFERENCE = 255
# A first poll that the shop asked for later: a token lives 60 minutes.
LATEST_FIRST_POLL = timedelta(minutes=40)
# Of a session that is tracked without an account.
DEFAULT_ACCOUNT = "default"


class TrackEffect(StrEnum):
    """What tracking does to the stored payment session."""

    CREATED = "created"
    NUDGED = "nudged"
    REOPENED = "reopened"
    UNCHANGED = "unchanged"
    # A message that was refused at first, after a newer one of its session.
    SUPERSEDED = "superseded"


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

    `trace_parent` is the trace that a new session belongs to. `foreign_accounts` are the configured
    accounts whose credentials may not go to `session_url`: which account the session has may be
    known only where it is stored.
    """

    shop_objects: ShopObjects | None = None
    # The shop asked for the first poll at this time. It is no nudge then, and delays no poll that
    # is due earlier.
    first_poll_at: datetime | None = None
    # When a message came that was refused at first; None for one that came just now.
    asked_at: datetime | None = None
    trace_parent: str | None = None
    foreign_accounts: frozenset[str] = frozenset()

    def check_account(self, account: str) -> None:
        """Check that the credentials of the session's account may go to `session_url`, if named.

        Raises:
            InvalidArgumentError: they may not.
        """
        if account in self.foreign_accounts:
            raise InvalidArgumentError("session_url", OTHER_ORIGIN)


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
        InvalidArgumentError: the account's credentials may not go to `session_url`.
    """
    if _is_superseded(existing, request):
        return existing, TrackEffect.SUPERSEDED
    existing = _with_shop_objects(existing, request)
    if _is_final(existing):
        return existing, TrackEffect.UNCHANGED
    corrected = _correct(existing, request, session_url_for)
    request.check_account(corrected.account)
    nudged = _with_poll(corrected, request, now=now)
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
        ConflictError, InvalidArgumentError: as `apply_track`.
    """
    if _is_final(existing) or not _contradictions(existing, request):
        return existing, TrackEffect.UNCHANGED
    return apply_track(existing, request, now=now, session_url_for=session_url_for)


def first_poll_at(request: TrackRequest, *, now: datetime) -> datetime:
    """Return when to poll what was just tracked: now, or when the shop asked for it."""
    if request.first_poll_at is None:
        return now
    return max(now, min(request.first_poll_at, now + LATEST_FIRST_POLL))


def _with_poll(session: PaymentSession, request: TrackRequest, *, now: datetime) -> PaymentSession:
    at = first_poll_at(request, now=now)
    if at == now:
        return replace(session, nudged_at=now, next_poll_at=now)
    known = session.next_poll_at
    return replace(session, next_poll_at=at if known is None else min(known, at))


def _is_superseded(existing: PaymentSession, request: TrackRequest) -> bool:
    if request.asked_at is None:
        return False
    return max(existing.tracked_at, existing.nudged_at or existing.tracked_at) > request.asked_at


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
