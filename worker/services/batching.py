"""Batches the rows of many coroutines into one statement, every few milliseconds.

A caller gets the result of its own row. The rows of a batch that fails are retried one by one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

Row = TypeVar("Row")
Result = TypeVar("Result")

LINGER_SECONDS = 0.004
LARGEST_BATCH = 500


@dataclass(slots=True)
class _Batch(Generic[Row, Result]):
    rows: list[Row] = field(default_factory=list)
    done: anyio.Event = field(default_factory=anyio.Event)
    results: list[Result] | None = None


class Batcher(Generic[Row, Result]):
    """`work` processes several rows and returns one result per row, in order.

    The first row of a batch waits `linger_seconds` for more rows to join. The default is small
    compared with the time of a request to Klarna.
    """

    def __init__(
        self,
        work: Callable[[list[Row]], Awaitable[list[Result]]],
        *,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._work = work
        self._linger_seconds = linger_seconds
        self._open: _Batch[Row, Result] | None = None

    async def add(self, row: Row) -> Result:
        """Process `row` in a batch and return its result; errors are this row's own."""
        batch = self._open
        leads = batch is None or len(batch.rows) >= LARGEST_BATCH
        if leads:
            batch = self._open = _Batch()
        assert batch is not None  # noqa: S101 - for the type checker
        position = len(batch.rows)
        batch.rows.append(row)
        await (self._lead(batch) if leads else batch.done.wait())
        if batch.results is None:
            return (await self._work([row]))[0]
        return batch.results[position]

    async def _lead(self, batch: _Batch[Row, Result]) -> None:
        """Process the batch for all its callers; if that fails, each processes its own row."""
        try:
            await anyio.sleep(self._linger_seconds)
            if self._open is batch:
                self._open = None
            if len(batch.rows) > 1:
                batch.results = await self._work(batch.rows)
        except Exception:  # noqa: BLE001 - each row is retried alone and raises its own error
            batch.results = None
        finally:
            if self._open is batch:
                self._open = None
            batch.done.set()
