"""The one place that reads this machine's clock. The database's clock decides leases and dues."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Return the time of day, aware and UTC; for what others compare with their own clocks."""
    return datetime.now(UTC)  # noqa: TID251 - the one place


def monotonic() -> float:
    """Return seconds that only ever grow; for spans, never for dates."""
    return time.monotonic()  # noqa: TID251 - the one place
