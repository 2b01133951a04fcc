"""Retries work while the database is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from worker.services.errors import UnavailableError

RETRY_SECONDS = 0.5
# How long a shop's message is held: the message is the only copy. With the longest single try, in
# a batch and then alone, this is less than the broker's visibility timeout (60 s), so no other
# worker gets the message meanwhile.
MESSAGE_HELD_SECONDS = 25.0

Result = TypeVar("Result")


async def retry_until(
    deadline: float,
    work: Callable[[], Awaitable[Result]],
    *,
    monotonic: Callable[[], float],
    stopping: Callable[[], bool],
    on_retry: Callable[[Exception], None],
) -> Result:
    """Return the result of `work`, retried until `deadline` (of `monotonic`) while it is away.

    `on_retry` is called with each error before the next try. No further try once `stopping()`.

    Raises:
        UnavailableError, TimeoutError: the last try failed.
    """
    while True:
        try:
            return await work()
        except (UnavailableError, TimeoutError) as error:
            if stopping() or monotonic() > deadline:
                raise
            on_retry(error)
        await anyio.sleep(RETRY_SECONDS)
