"""Time and memory of `session-worker policy fit` on a million recorded transitions.

Run: .venv/bin/python -m benchmarks.policy_fit. It starts its own Postgres, fills it with
what a worker would have recorded of the assumed population, and runs the command.
Exit code 1 where a target is missed.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from config.settings import SHIPPED_POLICY
from devkit.embedded import EmbeddedServers
from devkit.simulation.baselines import by_policy
from devkit.simulation.population import draw
from tests.support.databases import Databases
from tests.support.processes import BIN
from tests.support.recorded import record, stories_of
from worker.adapters.policy_file import read_policy

TRANSITIONS = 1_000_000
DRAWN = 10_000
MOST_SECONDS = 30.0
MOST_GIGABYTES = 1.0


def main() -> int:
    """Return the exit code."""
    transitions = int(sys.argv[1]) if len(sys.argv) > 1 else TRANSITIONS
    schedule = by_policy(read_policy(SHIPPED_POLICY).for_requests(50))
    stories = list(stories_of(draw("assumed", DRAWN, seed=1), schedule))
    copies = -(-transitions // sum(len(story.seen) for story in stories))
    with EmbeddedServers(valkey=False) as servers:
        databases = Databases(servers.database_url)
        url = databases.create()
        record(url, stories, copies=copies)
        seconds, of_processor, gigabytes = _fit(url)
    recorded = copies * sum(len(story.seen) for story in stories)
    sys.stdout.write(
        f"{recorded:,} transitions of {copies * DRAWN:,} sessions: {seconds:.1f} s "
        f"(at most {MOST_SECONDS:g}), {of_processor:.1f} s of them on a processor, "
        f"{gigabytes:.2f} GB (at most {MOST_GIGABYTES:g})\n"
    )
    return int(seconds > MOST_SECONDS or gigabytes > MOST_GIGABYTES)


def _fit(url: str) -> tuple[float, float, float]:
    """Return the seconds the command took, its CPU seconds, and its peak memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = Path(os.devnull)
    begun = time.perf_counter()
    subprocess.run(  # noqa: S603 - the program of this project
        [BIN / "session-worker", "policy", "fit", "--out", out],
        env={**os.environ, "PYTHON_DOTENV_DISABLED": "1", "DATABASE_URL": url},
        check=True,
    )
    seconds = time.perf_counter() - begun
    # In kilobytes on Linux; of the largest child, which is the command.
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    of_processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, of_processor, after.ru_maxrss / 1024**2


if __name__ == "__main__":
    sys.exit(main())
