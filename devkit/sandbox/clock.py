"""The mock server's own clock, which can be shifted. Only this module reads the time."""

import time


class SandboxClock:
    """Wall time plus an offset that tests move to compress hours into milliseconds."""

    def __init__(self) -> None:
        self.offset_seconds = 0.0

    def now(self) -> float:
        """Return seconds since the epoch as the mock server sees them."""
        return wall() + self.offset_seconds

    def advance(self, seconds: float) -> None:
        """Move the clock by `seconds`; a negative number moves it back."""
        self.offset_seconds += seconds


def wall() -> float:
    """Return the machine's unshifted wall time, in seconds since the epoch."""
    return time.time()  # noqa: TID251 - the mock server is a separate program with its own clock


def monotonic() -> float:
    """Return the machine's monotonic time in seconds; comparable across its processes on Linux."""
    return time.monotonic()  # noqa: TID251 - the mock server is a separate program with its own clock
