"""A process that polls a hostile server many times at once and prints what that cost.

Started by the tests: `python -m tests.hostile.polling ORIGIN SECONDS`. For each line on its
standard input, a number of polls, it prints one JSON line.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from time import monotonic  # noqa: TID251 - how long the polls took

import anyio
import anyio.to_thread

from tests.support.builders import a_session
from worker.adapters.klarna.client import Credentials, HttpxKlarna
from worker.domain.errors import ObservationError


async def answer_each_line(origin: str, seconds: float) -> None:
    """Poll as often as each line says, all at once, and print the figures."""
    klarna = HttpxKlarna(
        {"default": Credentials("user", "secret")},
        allowed_origins={"default": [origin]},
        timeout=timedelta(seconds=seconds),
    )
    while line := await anyio.to_thread.run_sync(sys.stdin.readline):
        outcomes: Counter[str] = Counter()
        _forget_peak()
        started = monotonic()
        async with anyio.create_task_group() as group:
            for number in range(int(line)):
                group.start_soon(_poll, klarna, f"{origin}/{number}", outcomes)
        figures = {"outcomes": outcomes, "seconds": monotonic() - started, "peak_kib": _peak_kib()}
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()
    await klarna.aclose()


async def _poll(klarna: HttpxKlarna, url: str, outcomes: Counter[str]) -> None:
    session = a_session(session_id=url.rpartition("/")[2], session_url=url)
    try:
        observation = await klarna.read(session)
        outcomes[observation.status] += 1
    except ObservationError as error:
        outcomes[error.label] += 1


# Not `ru_maxrss`: that includes the process before it became this program.
def _peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def _forget_peak() -> None:
    """Reset the peak; Linux, proc(5)."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    anyio.run(answer_each_line, sys.argv[1], float(sys.argv[2]))
