"""How long and how often to measure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Seconds and counts; a quick plan is a check, not for publishing."""

    quick: bool
    warm_up: float = 4.0
    # Of each run; the processes stay warm between runs.
    window: float = 10.0
    windows: int = 3
    # Of all runs together, for each rate and each sink.
    lag_seconds: float = 60.0
    emit_seconds: float = 30.0
    memory_minutes: float = 3.0
    claims: int = 30
    # Tracked sessions in the table.
    table_sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    # Of the chain with the largest table.
    background_seconds: float = 300.0
    # In each run, by tasks and from a file.
    tracked: int = 2_000
    tracked_in_bulk: int = 100_000


THOROUGH = Plan(quick=False)
QUICK = Plan(
    quick=True,
    warm_up=2.0,
    window=3.0,
    lag_seconds=5.0,
    emit_seconds=4.0,
    memory_minutes=0.25,
    claims=10,
    table_sizes=(10_000, 50_000),
    background_seconds=10.0,
    tracked=1_000,
    tracked_in_bulk=10_000,
)
