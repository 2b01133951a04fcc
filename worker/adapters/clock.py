"""The only place that reads this machine's clock. Leases and due times use the database's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Return the time of day, aware and in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one place


def monotonic() -> float:
    """Return the seconds of a clock that is never set back, for durations."""
    return time.monotonic()  # noqa: TID251 - the one place
