"""Checks the arguments of `track`: from a task, a list, the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias

from worker.domain.errors import InvalidArgumentError, UnknownAccountError
from worker.domain.session import Kind
from worker.domain.session_addresses import (
    as_text,
    check_session_id,
    check_session_url,
    foreign_accounts,
)
from worker.domain.tracking import LONGEST_REFERENCE, TRACK_ARGUMENTS, TrackRequest

# As received, by name; nothing in them is trusted. None means that the shop did not say.
TrackArguments: TypeAlias = dict[str, object]


# What clocks may differ by: Klarna's own times are the most there are.
_TOLERANCE = timedelta(minutes=5)
_OLDEST_YEAR, _YEARS_END = 2000, 2200


def leave_out_wrong(
    arguments: TrackArguments, *, now: datetime, max_lifetime: timedelta
) -> tuple[TrackArguments, list[InvalidArgumentError]]:
    """Return the arguments without a wrong `expires_at` or `reference`, and what was wrong.

    Neither is needed to track a session: in a shop's message, which nobody reads the answer of,
    they must not lose it.
    """
    faults: list[InvalidArgumentError] = []
    for check in (partial(_check_end, latest=now + max_lifetime + _TOLERANCE), _check_reference_of):
        try:
            check(arguments)
        except InvalidArgumentError as error:
            faults.append(error)
    wrong = {fault.field for fault in faults}
    return {name: value for name, value in arguments.items() if name not in wrong}, faults


def check_arguments(
    arguments: Mapping[str, object], *, origins: Mapping[str, Collection[str]]
) -> TrackRequest:
    """Return the checked arguments; `origins` has those of each configured account.

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
            session_url,
            session_id=session_id,
            allowed_origins={origin for allowed in origins.values() for origin in allowed},
        )
    request = TrackRequest(
        session_id=session_id,
        session_url=session_url,
        expires_at=_check_time(arguments.get("expires_at")),
        account=_check_account(arguments.get("account"), origins),
        kind=_check_kind(arguments.get("kind")),
        reference=check_reference(arguments.get("reference")),
        foreign_accounts=foreign_accounts(session_url, origins) if session_url else frozenset(),
    )
    if request.account is not None:
        request.check_account(request.account)
    return request


def _check_account(value: object, accounts: Collection[str]) -> str | None:
    """Accounts are named by lower-cased names."""
    if value is None:
        return None
    name = value.lower() if isinstance(value, str) else None
    if name is None:
        raise InvalidArgumentError("account", "must be text")
    if name not in accounts:
        raise UnknownAccountError
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
    # Later arithmetic overflows beyond; an earlier one is a wrong unit or a default.
    if not _OLDEST_YEAR <= time.year < _YEARS_END:
        raise InvalidArgumentError("expires_at", "must lie between 2000 and 2200")
    # ISO 8601 has zones that Postgres has not: fractions of a second off UTC.
    return time.astimezone(UTC)


def check_reference(value: object) -> str | None:
    """Return the shop's own id of a payment.

    Raises:
        InvalidArgumentError: it is no printable text, or too long.
    """
    value = as_text(value)
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_REFERENCE:
        raise InvalidArgumentError(
            "reference", f"must be printable text of at most {LONGEST_REFERENCE} characters"
        )
    return value


def _check_end(arguments: TrackArguments, *, latest: datetime) -> None:
    expires_at = _check_time(arguments.get("expires_at"))
    if expires_at is not None and expires_at > latest:
        raise InvalidArgumentError("expires_at", "is later than POLL_MAX_LIFETIME_SECONDS from now")


def _check_reference_of(arguments: TrackArguments) -> None:
    check_reference(arguments.get("reference"))
