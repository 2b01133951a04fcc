"""What a fault cost, in figures: measured by a test, kept as a JSON line, shown by `bin/chaos`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

# Where each test process writes its lines; unset, nothing is written.
FOLDER_VARIABLE = "CHAOS_FIGURES"
LEAST_IN_FLIGHT = 50


@dataclass(kw_only=True)
class Figures:
    """Of one test. Seconds run from the end of the fault to the last overdue poll's record."""

    in_flight: int
    recovery_seconds: float | None
    target_seconds: float
    lost_sessions: int
    lost_events: int
    repeated_events: int
    broken_chains: int
    broken_promises: list[str] = field(default_factory=list)

    def misses(self) -> list[str]:
        """Every figure that is not at its target, in words."""
        found = [
            f"{name.replace('_', ' ')}: {getattr(self, name)}"
            for name in ("lost_sessions", "lost_events", "repeated_events", "broken_chains")
            if getattr(self, name)
        ]
        if self.in_flight < LEAST_IN_FLIGHT:
            found.append(f"only {self.in_flight} sessions were in flight")
        if self.recovery_seconds is None:
            found.append("no recovery was measured")
        elif self.recovery_seconds > self.target_seconds:
            found.append(
                f"recovery took {self.recovery_seconds:.1f} s of {self.target_seconds:g} s"
            )
        return found + self.broken_promises


def write_line(fault: str, *, test: str, passed: bool, figures: Figures | None) -> None:
    """Append a test's line to this process's file, where a folder is named."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return
    line = {
        "fault": fault,
        "test": test,
        "passed": passed,
        "figures": asdict(figures) if figures else None,
    }
    with (Path(folder) / f"{os.getpid()}.jsonl").open("a") as lines:
        lines.write(json.dumps(line) + "\n")
