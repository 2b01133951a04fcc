"""Checks the arguments of `track`: from a task, a list, the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from worker.domain.errors import InvalidArgumentError
from worker.domain.session import Kind
from worker.domain.tracking import (
    LONGEST_REFERENCE,
    TRACK_ARGUMENTS,
    TrackRequest,
    check_session_id,
    check_session_url,
)

# As received, by name; nothing in them is trusted. None means that the shop did not say.
TrackArguments: TypeAlias = dict[str, object]


def check_arguments(
    arguments: Mapping[str, object], *, accounts: Collection[str], allowed_origins: Collection[str]
) -> TrackRequest:
    """Return the checked arguments; `accounts` are the configured ones.

    Raises:
        InvalidArgumentError: naming the first field at fault.
        TypeError: a name is not one of TRACK_ARGUMENTS; callers check what a shop sends.
    """
    if not arguments.keys() <= set(TRACK_ARGUMENTS):
        raise TypeError("not an argument of track")
    session_id = check_session_id(arguments.get("session_id"))
    session_url = arguments.get("session_url")
    if session_url is not None:
        session_url = check_session_url(
            session_url, session_id=session_id, allowed_origins=allowed_origins
        )
    return TrackRequest(
        session_id=session_id,
        session_url=session_url,
        expires_at=_check_time(arguments.get("expires_at")),
        account=_check_account(arguments.get("account"), accounts),
        kind=_check_kind(arguments.get("kind")),
        reference=_check_reference(arguments.get("reference")),
    )


def _check_account(value: object, accounts: Collection[str]) -> str | None:
    """Accounts are named by lower-cased names."""
    if value is None:
        return None
    name = value.lower() if isinstance(value, str) else None
    if name not in accounts:
        raise InvalidArgumentError("account", "is not configured")
    return name


def _check_kind(value: object) -> Kind | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in set(Kind):
        raise InvalidArgumentError("kind", "must be hpp or kp")
    return Kind(value)


def _check_time(value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, (str, datetime)):
        raise InvalidArgumentError("expires_at", "must be an ISO 8601 time")
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        offset = time.utcoffset()
    except ValueError:
        raise InvalidArgumentError("expires_at", "must be an ISO 8601 time") from None
    if offset is None:
        raise InvalidArgumentError("expires_at", "must name its time zone, such as a final Z")
    if not 1970 <= time.year < 2200:  # noqa: PLR2004 - later arithmetic overflows beyond
        raise InvalidArgumentError("expires_at", "must lie between 1970 and 2200")
    # ISO 8601 has zones that Postgres has not: fractions of a second off UTC.
    return time.astimezone(UTC)


def _check_reference(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_REFERENCE:
        raise InvalidArgumentError(
            "reference", f"must be printable text of at most {LONGEST_REFERENCE} characters"
        )
    return value
