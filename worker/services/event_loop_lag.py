"""Measures the event loop's lag: the lateness of every deadline in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from worker.services.meter import Meter

REFRESH_SECONDS = 0.5


async def measure_event_loop_lag(meter: Meter, *, monotonic: Callable[[], float]) -> None:
    """Measure until cancelled; `monotonic` returns seconds."""
    while True:
        started_at = monotonic()
        await asyncio.sleep(REFRESH_SECONDS)
        meter.loop_lagged(max(monotonic() - started_at - REFRESH_SECONDS, 0.0))
