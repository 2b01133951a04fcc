"""health --live: does this machine's worker or beat make progress?

It asks nobody: a restart does not help while Postgres, the broker or Klarna is away.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from config.settings import ProgressSettings, load
from worker.adapters import clock
from worker.commands.findings import Finding, exit_code, print_findings
from worker.domain.health import PROGRESS_WITHIN


def live(*, as_json: bool) -> int:
    """Report the age of PROGRESS_FILE; return the exit code."""
    finding = _progress(load(ProgressSettings))
    print_findings([finding], as_json=as_json)
    return exit_code([finding])


def _progress(settings: ProgressSettings) -> Finding:
    file = settings.progress_file
    if file is None:
        fault = "is not set: set it for worker and beat, and for this command, to the same file"
        return Finding("PROGRESS_FILE", fault=fault)
    try:
        changed_at = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except OSError as error:
        fault = f"{file}: {error.strerror}: is the worker or beat that writes it running here?"
        return Finding("PROGRESS_FILE", fault=fault)
    age = max(clock.now() - changed_at, timedelta(0))
    return Finding(
        "progress",
        fault=_standstill(age) if age > PROGRESS_WITHIN else None,
        detail=f"{age.total_seconds():.0f} s ago",
    )


def _standstill(age: timedelta) -> str:
    return f"none for {age.total_seconds():.0f} s: restart this worker or beat, and see its log"
