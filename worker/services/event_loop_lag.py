"""Measures how late the event loop wakes: what every deadline in it is late by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from worker.services.meter import Meter

WAKE_EVERY_SECONDS = 0.5


async def measure_event_loop_lag(meter: Meter, *, monotonic: Callable[[], float]) -> None:
    """Measure until it is cancelled; `monotonic` returns seconds."""
    while True:
        asked_at = monotonic()
        await asyncio.sleep(WAKE_EVERY_SECONDS)
        meter.loop_lagged(max(monotonic() - asked_at - WAKE_EVERY_SECONDS, 0.0))
