"""What may be shown of a task's arguments: payment session ids, and nothing else.

Arguments were written by the sender and may hold anything; Flower, events and logs show them.
"""

from __future__ import annotations

from typing import Any

from worker.domain.errors import InvalidArgumentError
from worker.domain.tracking import check_session_id

_FIRST_ARGUMENTS = ("session_id", "response", "resource")
# Where the documents that tasks take "as they came" have an id; Payway's is its own handle.
_PATHS = (
    ("session_id",),
    ("data", "attributes", "session_id"),
    ("item", "klarna_payments_session_id"),
)


def shown_ids(args: Any, kwargs: Any) -> list[str]:  # noqa: ANN401 - anything may be sent
    """The session ids in the first argument, whichever task it is; a question mark for others."""
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
