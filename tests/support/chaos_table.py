"""The table that `bin/chaos` ends with: each fault, what it cost, and whether that is allowed.

`python -m tests.support.chaos_table FOLDER [DOCUMENT]`: FOLDER holds the JSON lines; DOCUMENT has
its table replaced. Exit code 1 where a target is missed, or where there is nothing to tell.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.support.figures import Figures

START, END = "<!-- bin/chaos -->\n", "<!-- end -->\n"
HEADINGS = (
    *("fault", "sessions in flight", "recovery (s)", "at most (s)"),
    *("lost sessions", "lost events", "repeated events", "broken chains", "verdict"),
)


def table(lines: list[dict[str, Any]]) -> str:
    """The lines as a Markdown table, by test file."""
    rows = [HEADINGS, tuple("---" for _ in HEADINGS)]
    rows += [_row(line) for line in sorted(lines, key=lambda line: line["test"])]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def is_met(line: dict[str, Any]) -> bool:
    """Whether a test passed, kept its figures, and all are at their targets."""
    return bool(line["passed"] and line["figures"]) and not Figures(**line["figures"]).misses()


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    verdict = "met" if is_met(line) else "**missed**"
    if line["figures"] is None:
        return (line["fault"], *["-"] * (len(HEADINGS) - 2), verdict)
    figures = Figures(**line["figures"])
    seconds = figures.recovery_seconds
    return (
        line["fault"],
        str(figures.in_flight),
        "never" if seconds is None else f"{seconds:.1f}",
        f"{figures.target_seconds:g}",
        str(figures.lost_sessions),
        str(figures.lost_events),
        str(figures.repeated_events),
        str(figures.broken_chains),
        verdict,
    )


def main(folder: str, document: str | None = None) -> int:
    """Print the table; return the exit code."""
    # A test that failed in its setup and in its teardown is there twice: the last line counts.
    lines = {
        line["test"]: line
        for file in sorted(Path(folder).glob("*.jsonl"))
        for line in map(json.loads, file.read_text().splitlines())
    }
    if not lines:
        sys.stderr.write("bin/chaos: no test kept any figure: nothing was checked\n")
        return 1
    shown = table(list(lines.values()))
    sys.stdout.write(f"\n{shown}")
    missed = sum(not is_met(line) for line in lines.values())
    sys.stdout.write(f"\n{len(lines)} faults, {missed} missed a target\n")
    if document:
        path = Path(document)
        before, _, rest = path.read_text().partition(START)
        path.write_text(f"{before}{START}{shown}{END}{rest.partition(END)[2]}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
