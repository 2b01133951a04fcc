"""The Celery tasks: names, arguments and acknowledgement; the work is in `worker.services`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any
from uuid import UUID

from celery.exceptions import Reject
from celery.worker.request import Request

from worker.adapters.klarna.wire_models import parse_creation
from worker.celery import app, runtime
from worker.domain.errors import InvalidArgumentError, TrackError
from worker.domain.tracking import check_session_id
from worker.services.ports import UnavailableError
from worker.services.track import TrackArguments


class ScrubbedRequest(Request):
    """A received task that shows payment session ids of its arguments, and nothing else.

    What Flower, events and logs show was written by the sender and may hold anything.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        shown = ", ".join(_shown_ids(self.args, self.kwargs))
        self._argsrepr = self._request_dict["argsrepr"] = f"({shown})"
        self._kwargsrepr = self._request_dict["kwargsrepr"] = "{}"

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - Celery's
        """What `celery inspect` and Flower are told of a task under way; never its arguments."""
        shown: dict[str, Any] = super().info(safe=True)
        return shown


def _shown_ids(args: Any, kwargs: Any) -> list[str]:  # noqa: ANN401 - anything may be sent
    """The session ids in the first argument, whichever task it is; a question mark for others."""
    first: Any = None
    if isinstance(args, (list, tuple)) and args:
        first = args[0]
    elif isinstance(kwargs, dict):
        first = next((kwargs[k] for k in ("session_id", "response") if k in kwargs), None)
    if isinstance(first, dict):
        first = first.get("session_id")
    candidates = first if isinstance(first, list) else [first]
    return [_shown_id(candidate) for candidate in candidates]


def _shown_id(value: object) -> str:
    try:
        return repr(check_session_id(value))
    except InvalidArgumentError:
        return "?"


# The shop's message is the only copy: it is acknowledged when its session is stored, not before.
_TRACK = {"acks_late": True, "throws": (TrackError,), "Request": ScrubbedRequest}
_INTERNAL = {"throws": (UnavailableError, TimeoutError), "Request": ScrubbedRequest}


_TRACK_ARGUMENTS = tuple(field.name for field in fields(TrackArguments))
_CREATED_ARGUMENTS = ("response", "account", "reference")
_LONGEST_NAME = 64


def _named(
    names: tuple[str, ...], given: tuple[object, ...], named: dict[str, object]
) -> dict[str, object]:
    """A mistyped argument is a shop's mistake like any other, not a TypeError of ours."""
    for name in sorted(named):
        if name not in names:
            raise InvalidArgumentError(_shown_name(name), "is not an argument of this task")
        if name in names[: len(given)]:
            raise InvalidArgumentError(name, "is given twice")
    if len(given) > len(names):
        raise InvalidArgumentError("arguments", f"are {len(given) - len(names)} too many")
    return dict(zip(names, given, strict=False)) | named


def _shown_name(name: str) -> str:
    """The name of an unknown argument, where it is one: it goes to logs and to Flower."""
    return name if name.isidentifier() and len(name) <= _LONGEST_NAME else "arguments"


def _track(arguments: TrackArguments) -> None:
    try:
        runtime.call(runtime.services.track.track, arguments)
    except UnavailableError as error:
        raise Reject(str(error), requeue=True) from None


@app.task(name="payment_sessions.track", **_TRACK)
def track(*given: object, **named: object) -> None:
    """Follow a payment session, or poll it now where it is followed already.

    Arguments, in order: session_id, and optionally session_url, expires_at, account, kind,
    reference.
    """
    _track(TrackArguments(**_named(_TRACK_ARGUMENTS, given, named)))


@app.task(name="payment_sessions.track_created", **_TRACK)
def track_created(*given: object, **named: object) -> None:
    """Follow the HPP session of Klarna's create-session answer, as it came.

    Arguments, in order: response, and optionally account, reference.
    """
    arguments = _named(_CREATED_ARGUMENTS, given, named)
    created = parse_creation(arguments.pop("response", None))
    _track(
        TrackArguments(
            session_id=created.session_id,
            session_url=created.session_url,
            expires_at=created.expires_at,
            kind="hpp",
            **arguments,
        )
    )


@app.task(name="payment_sessions.poll", **_INTERNAL)
def poll(session_ids: list[str], lease_id: str) -> None:
    """Poll the payment sessions claimed under the lease."""
    runtime.call(runtime.services.poll.poll, session_ids, UUID(lease_id))


@app.task(name="payment_sessions.relay", **_INTERNAL)
def relay(session_ids: list[str]) -> None:
    """Deliver what these payment sessions have in the outbox."""
    runtime.call(runtime.services.relay.relay, session_ids)


@app.task(name="payment_sessions.purge", **_INTERNAL)
def purge() -> None:
    """Delete payment sessions finished longer ago than RETENTION_DAYS."""
    runtime.call(runtime.services.housekeeping.purge)
