"""Measures what docs/performance.md says, and shows it beside the targets.

chain     due row to written answer at 200/s, 1,000/s and saturation: rate, CPU by process, memory
baseline  what one would write instead: (a) prefork tasks, (b) RedBeat entries, (c) taskiq
lag       from a session's due time to its request
scale     claims and the chain among a million followed sessions, bloat, the cost of tracking
emit      from a transition to the stream's entry and to the webhook
memory    resident memory idle, at full load, and whether it grows

Exit code 1: a target is missed (never where --quick), or a poll has become dearer beside the
baseline than benchmarks/ratios.json allows (only where --quick). 2: wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import psycopg

from benchmarks import baseline, chain, emit, guard, memory, scale
from benchmarks import lateness as lag
from benchmarks.environment import Stage, tell
from benchmarks.figures import Figure, as_json, table
from benchmarks.plan import QUICK, THOROUGH, Plan

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
# Of the documents' prose.
LINE_WIDTH = 120
BEGIN, END = "<!-- bin/bench: begin -->\n", "<!-- bin/bench: end -->\n"
Measure = Callable[[Stage, Plan], Iterator[Figure]]
MEASURES: dict[str, Measure] = {
    "chain": chain.measure,
    "baseline": baseline.measure,
    "lag": lag.measure,
    "scale": scale.measure,
    "emit": emit.measure,
    "memory": memory.measure,
}
PACKAGES = ("celery", "kombu", "redis", "httpx", "aiohttp", "psycopg", "sqlalchemy")
BUSY_LOAD = 0.5
# Of one alone nobody is told: a busy machine makes a poll look dearer for a while.
GUARD_ROUNDS = 3


def main() -> int:
    """Print the table; answer the exit code."""
    chosen = _arguments()
    plan = QUICK if chosen.quick else THOROUGH
    if chosen.minutes is not None:
        plan = replace(plan, memory_minutes=chosen.minutes)
    load_before = os.getloadavg()[0]
    measures = [guard.measure] if chosen.guard else [MEASURES[n] for n in chosen.names or MEASURES]
    with Stage(dict(chosen.settings)) as stage:
        if chosen.renew:
            guard.store(
                [guard.ratios(_measured(stage, plan, measures)) for _ in range(GUARD_ROUNDS)]
            )
            return 0
        machine = _machine(stage, load_before)
        figures = _measured(stage, plan, measures)
        grown = _grown(stage, plan, guard.ratios(figures)) if plan.quick else {}
    figures += baseline.compared(figures)
    heading = textwrap.fill(f"`{_command(chosen)}`, {machine}", LINE_WIDTH)
    report = "\n".join([heading, "", *table(figures), ""])
    sys.stdout.write(report)
    if chosen.json:
        document = {"machine": machine, "figures": [as_json(figure) for figure in figures]}
        chosen.json.write_text(json.dumps(document, indent=2) + "\n")
    if chosen.write:
        _write(report)
    for load, times in grown.items():
        sys.stdout.write(f"CPU per poll, {load}: {times:.2f} times what is stored. Too dear.\n")
    missed = any(figure.met is False for figure in figures)
    return int(bool(grown) if plan.quick else missed)


def _measured(stage: Stage, plan: Plan, measures: Sequence[Measure]) -> list[Figure]:
    figures: list[Figure] = []
    for measure in measures:
        for figure in measure(stage, plan):
            figures.append(figure)
            tell(f"  {figure.name}: {figure.median:.3g} {figure.unit}")
    return figures


def _grown(stage: Stage, plan: Plan, now: guard.Ratios) -> guard.Ratios:
    """Compare with what is stored; before calling a poll dearer measure more, for the medians."""
    stored, rounds = guard.stored(), [now]
    while guard.grown(now, stored) and len(rounds) < GUARD_ROUNDS:
        tell("dearer than stored: once more")
        rounds.append(guard.ratios(_measured(stage, plan, [guard.measure])))
        now = guard.middle(rounds)
    for load, ratio in now.items():
        tell(f"CPU per poll, {load}: {ratio:.3f} of the baseline's, stored {stored[load]:.3f}")
    return guard.grown(now, stored)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that all is well")
    parser.add_argument("--guard", action="store_true", help="--quick, only what guards the ratios")
    parser.add_argument("--renew", action="store_true", help="store the ratios of now (4 minutes)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--write", action="store_true", help="put the table into docs/")
    parser.add_argument("--minutes", type=float, help="of memory's slope (3; the target is for 30)")
    parser.add_argument(
        *("--set", "-s"),
        dest="settings",
        metavar="NAME=VALUE",
        type=_setting,
        action="append",
        default=[],
        help="another setting of worker and beat, such as POLL_TASKS_PER_TICK=4",
    )
    chosen = parser.parse_args()
    chosen.guard |= chosen.renew
    chosen.quick |= chosen.guard
    if chosen.guard and chosen.names:
        parser.error("--guard and --renew choose what to measure: name no benchmark")
    for name in chosen.names:
        if name not in MEASURES:
            parser.error(f"there is no benchmark {name}: take one of {', '.join(MEASURES)}")
    return chosen


def _command(chosen: argparse.Namespace) -> str:
    """What gives such figures again; where they were written to is nobody's concern."""
    options = ["--guard"] if chosen.guard else ["--quick"] * chosen.quick
    if chosen.minutes is not None:
        options += ["--minutes", f"{chosen.minutes:g}"]
    options += [f"--set {name}={value}" for name, value in chosen.settings]
    return " ".join(["bin/bench", *chosen.names, *options])


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    return name, value


def _machine(stage: Stage, load: float) -> str:
    with psycopg.connect(stage.database_url) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    busy = (
        f" **Other programs were running: the load average was {load:.1f} before it began.**"
        if load > BUSY_LOAD
        else ""
    )
    return (
        f"on {os.cpu_count()} cores ({platform.machine()}), {platform.system()}"
        f" {platform.release()}, Python {platform.python_version()}, Postgres"
        f" {row[0] if row else '?'}, {packages}.{busy}"
    )


def _write(report: str) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{report}\n{END}{after}")


if __name__ == "__main__":
    raise SystemExit(main())
