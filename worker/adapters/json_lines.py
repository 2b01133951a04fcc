"""Reads JSON Lines from a file or standard input, each validated by its model.

Errors read FILE:LINE: field: reason, without repeating the value.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

STANDARD_INPUT = Path("-")
# Longer lines are errors and are not kept in memory.
LONGEST_LINE_BYTES = 1024 * 1024

# Clearer texts for some of pydantic's error types.
_REASONS = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "json_invalid": "is not JSON",
    "model_type": "is no JSON object",
}

ModelT = TypeVar("ModelT", bound=BaseModel)


class JsonLinesError(ValueError):
    """A file, or one line of it, that cannot be read; the text says which and why."""

    def __init__(
        self, path: Path, reason: str, *, line: int | None = None, field: str | None = None
    ) -> None:
        self.path = path
        self.line = line
        self.field = field
        self.reason = reason
        place = f"{_name(path)}:{line}" if line else _name(path)
        super().__init__(": ".join(part for part in (place, field, reason) if part))


def each_line(path: Path, model: type[ModelT]) -> Iterator[tuple[int, ModelT | JsonLinesError]]:
    """Yield each line's number and its model or error; empty lines are skipped.

    The path `-` is standard input.

    Raises:
        JsonLinesError: the file cannot be read.
    """
    for number, line in _lines(path):
        try:
            yield (
                number,
                line if isinstance(line, JsonLinesError) else checked(path, number, line, model),
            )
        except JsonLinesError as error:
            yield number, error


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line's number and bytes; empty lines are skipped. `-` is standard input.

    Raises:
        JsonLinesError: the file cannot be read, or a line is too long.
    """
    for number, line in _lines(path):
        if isinstance(line, JsonLinesError):
            raise line
        yield number, line


def _lines(path: Path) -> Iterator[tuple[int, bytes | JsonLinesError]]:
    """Yield each line, or an error for one that is too long, whose rest is skipped."""
    number = 0
    try:
        with _opened(path) as lines:
            while line := lines.readline(LONGEST_LINE_BYTES):
                number += 1
                if len(line) == LONGEST_LINE_BYTES and not line.endswith(b"\n"):
                    yield number, JsonLinesError(path, "is longer than 1 MiB", line=number)
                    while line and not line.endswith(b"\n"):
                        line = lines.readline(LONGEST_LINE_BYTES)
                elif line.strip():
                    yield number, line
    except OSError as error:
        raise JsonLinesError(path, f"cannot be read: {error.strerror}") from None


def checked(path: Path, number: int, line: bytes, model: type[ModelT]) -> ModelT:
    """Return one line's model.

    Raises:
        JsonLinesError: the first error in the line.
    """
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in detail["loc"])
    reason = _REASONS.get(detail["type"]) or str(detail["msg"]).removeprefix("Value error, ")
    reason = f"{reason[:1].lower()}{reason[1:]}"
    raise JsonLinesError(path, reason, line=number, field=field or None)


def _opened(path: Path) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if path == STANDARD_INPUT else path.open("rb")


def _name(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else str(path)
