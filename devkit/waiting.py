"""Waiting for a fact with a deadline; the only module that reads a clock for child processes."""

import time
from collections.abc import Iterator


def polls(seconds: float, *, pause: float = 0.01) -> Iterator[None]:
    """Yield at once and then every `pause` seconds, for `seconds` in all."""
    clock = time.monotonic  # noqa: TID251 - a deadline on a real child process, no business time
    end = clock() + seconds
    yield
    while clock() < end:
        time.sleep(pause)
        yield
