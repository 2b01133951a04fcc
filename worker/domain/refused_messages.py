"""Messages that were not taken in: which are tried again, when, and for how long. Pure."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from worker.domain.errors import TrackError, UnknownAccountError

# Waits between tries: as long as the message has waited so far, which doubles them.
SHORTEST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=5)
# What time has not healed by then waits for a person.
TRIED_FOR = timedelta(hours=48)
# A rolling release is over by then: a message still refused is one that somebody must look at.
IN_VAIN_AFTER = timedelta(minutes=10)
# How long the arguments of a message that nobody resolved are kept.
ARGUMENTS_KEPT = timedelta(hours=72)
LARGEST_BODY = 64 * 1024
MOST_ROWS = 100_000
# What `field` says where no argument is at fault.
MESSAGE = "message"
UNFORESEEN = "unforeseen"

# What may be an id: whole strings of an argument, for the keyed hashes by which `erase` finds them.
_ID_LIKE = re.compile(r"[A-Za-z0-9._~-]{6,128}")


class Resolution(StrEnum):
    """How a refused message ended."""

    TAKEN = "taken"
    SUPERSEDED = "superseded"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalReason:
    """Why a message is not taken in. `field` and `reason` are safe to show.

    `heals` says that time may heal it: it is tried again by itself. `of_process` says that it is
    about the process that tried, not about the message: such a try does not count.
    """

    field: str
    reason: str
    heals: bool = False
    of_process: bool = False


def reason_of(error: Exception) -> RefusalReason:
    """Return what an error of taking a message in means.

    Wrong arguments wait for a person. An account that is not configured may be in a moment, where
    a release is being rolled out; what nobody foresaw may be a fault of the database or of ours
    that the next release fixes.
    """
    if isinstance(error, TrackError):
        unknown = isinstance(error, UnknownAccountError)
        return RefusalReason(
            field=error.field, reason=error.problem, heals=unknown, of_process=unknown
        )
    return RefusalReason(field=UNFORESEEN, reason=type(error).__name__, heals=True)


def next_try_at(reason: RefusalReason, *, received_at: datetime, now: datetime) -> datetime | None:
    """Return when to try again, or None: it waits for a person."""
    waited = now - received_at
    if not reason.heals or waited >= TRIED_FOR:
        return None
    return now + min(max(waited, SHORTEST_WAIT), LONGEST_WAIT)


def ids_in(envelope: str) -> list[str]:
    """Return what may be an id in a kept message; one that is not JSON has none."""
    kept = json.loads(envelope)
    if "args" in kept:
        return sorted(_id_like([kept["args"], kept["kwargs"]]))
    try:
        return sorted(_id_like(json.loads(base64.b64decode(kept["body"]))))
    except (ValueError, RecursionError):
        return []


def _id_like(arguments: Any) -> set[str]:  # noqa: ANN401 - anything may have been sent
    """Return the strings in decoded arguments that may be ids; UUIDs and numbers as text."""
    found: set[str] = set()
    waiting = [arguments]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif not isinstance(value, bool) and _ID_LIKE.fullmatch(str(value)):
            found.add(str(value))
    return found
