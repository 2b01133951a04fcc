"""What may be shown of a task's arguments: payment session ids, and nothing else.

Arguments were written by the sender and may hold anything; Flower, events and logs show them.
"""

from __future__ import annotations

from typing import Any

from celery import Task
from celery.worker.request import Request

from worker.domain.errors import InvalidArgumentError
from worker.domain.session_addresses import check_session_id
from worker.domain.track_arguments import check_reference

_FIRST_ARGUMENTS = ("session_id", "response", "resource")
# Where documents have an id that tasks take unchanged; Payway's is its own handle.
_PATHS = (
    ("session_id",),
    ("data", "attributes", "session_id"),
    ("item", "klarna_payments_session_id"),
)
# In place of what the sender claims that the arguments are.
_REDACTED = {"argsrepr": "(?)", "kwargsrepr": "{}"}


class RedactedRequest(Request):
    """A received task that shows the payment session ids of its arguments, and nothing else."""

    def __init__(
        self,
        message: Any,  # noqa: ANN401 - kombu is untyped
        *,
        headers: dict[str, Any] | None = None,
        **options: Any,  # noqa: ANN401 - Celery's
    ) -> None:
        sent = message.headers if headers is None else headers
        super().__init__(message, headers={**sent, **_REDACTED}, **options)
        self.request_dict["argsrepr"] = f"({', '.join(shown_ids(self.args, self.kwargs))})"

    @property
    def argsrepr(self) -> str:
        """What events and logs show of the arguments."""
        return str(self.request_dict["argsrepr"])

    @property
    def kwargsrepr(self) -> str:
        """Nothing: `argsrepr` has the ids of the keyword arguments, too."""
        return _REDACTED["kwargsrepr"]

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - Celery's
        """Return what `celery inspect` and Flower show of a running task; `safe` or not."""
        shown: dict[str, Any] = super().info(safe=True)
        return shown | {"args": self.argsrepr, "kwargs": self.kwargsrepr}


class RedactedTask(Task):
    """The base class of every task of the app."""

    Request = RedactedRequest


def shown_ids(args: Any, kwargs: Any) -> list[str]:  # noqa: ANN401 - anything may be sent
    """Return the session ids in a task's first argument; a question mark for what is none."""
    first: Any = None
    if isinstance(args, (list, tuple)) and args:
        first = args[0]
    elif isinstance(kwargs, dict):
        first = next((kwargs[name] for name in _FIRST_ARGUMENTS if name in kwargs), None)
    if isinstance(first, dict):
        found = (_at(first, path) for path in _PATHS)
        first = next((value for value in found if value is not None), None)
    candidates = first if isinstance(first, list) else [first]
    return [_shown_id(candidate) for candidate in candidates]


def sound_ids(args: Any, kwargs: Any) -> tuple[str | None, str | None]:  # noqa: ANN401 - anything may be sent
    """Return session id and reference of a task's arguments, each None where it is not sound."""
    shown = shown_ids(args, kwargs)
    session_id = shown[0].strip("'") if len(shown) == 1 and shown[0] != "?" else None
    reference = kwargs.get("reference") if isinstance(kwargs, dict) else None
    try:
        return session_id, check_reference(reference)
    except InvalidArgumentError:
        return session_id, None


def _at(document: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - anything may be sent
    value = document
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _shown_id(value: object) -> str:
    try:
        return repr(check_session_id(value))
    except InvalidArgumentError:
        return "?"
