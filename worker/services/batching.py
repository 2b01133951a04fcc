"""Does small pieces of work of many coroutines together, once every few milliseconds.

Each caller is answered only after its own was done; what fails together is done one by one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

Row = TypeVar("Row")
Answer = TypeVar("Answer")

LINGER_SECONDS = 0.004
LARGEST_BATCH = 500


@dataclass(slots=True)
class _Batch(Generic[Row, Answer]):
    rows: list[Row] = field(default_factory=list)
    done: anyio.Event = field(default_factory=anyio.Event)
    answers: list[Answer] | None = None


class Batcher(Generic[Row, Answer]):
    """`work` does rows in one go and answers one answer per row, in order.

    The first row of a group waits `linger_seconds` for company; by default nothing beside an
    answer of Klarna's.
    """

    def __init__(
        self,
        work: Callable[[list[Row]], Awaitable[list[Answer]]],
        *,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._work = work
        self._gather_seconds = linger_seconds
        self._open: _Batch[Row, Answer] | None = None

    async def add(self, row: Row) -> Answer:
        """Do `row` in company and return what became of it; errors are this row's own."""
        group = self._open
        leads = group is None or len(group.rows) >= LARGEST_BATCH
        if leads:
            group = self._open = _Batch()
        assert group is not None  # noqa: S101 - told to the type checker
        place = len(group.rows)
        group.rows.append(row)
        await (self._lead(group) if leads else group.done.wait())
        if group.answers is None:
            return (await self._work([row]))[0]
        return group.answers[place]

    async def _lead(self, group: _Batch[Row, Answer]) -> None:
        """The first of a group works for all; should it fail or be cancelled, each for itself."""
        try:
            await anyio.sleep(self._gather_seconds)
            if self._open is group:
                self._open = None
            if len(group.rows) > 1:
                group.answers = await self._work(group.rows)
        except Exception:  # noqa: BLE001 - whatever it was, each row meets its own error alone
            group.answers = None
        finally:
            if self._open is group:
                self._open = None
            group.done.set()
