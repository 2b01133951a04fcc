"""Measures the figures of docs/performance.md and compares them with the targets.

chain     due row to recorded response at 200/s, 1,000/s and saturation: rate, CPU, memory
baseline  alternatives: (a) prefork tasks, (b) RedBeat entries, (c) taskiq
lag       from a session's due time to its request
scale     claims and the chain among a million tracked sessions, bloat, the cost of tracking
emit      from a transition to the stream's entry and to the webhook
memory    resident memory idle, at full load, and whether it grows

Exit code 1: a target is missed (not with --quick), or a poll takes more CPU, relative to the
baseline, than benchmarks/ratios.json allows (only with --quick). 2: wrong usage.
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

from benchmarks import baseline, chain, emit, guard, lateness, memory, scale
from benchmarks.environment import Servers, report
from benchmarks.figures import Figure, as_json, table
from benchmarks.plan import QUICK, THOROUGH, Plan

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
# Of the documents' prose.
LINE_WIDTH = 120
BEGIN, END = "<!-- bin/bench: begin -->\n", "<!-- bin/bench: end -->\n"
Measure = Callable[[Servers, Plan], Iterator[Figure]]
MEASURES: dict[str, Measure] = {
    "chain": chain.measure,
    "baseline": baseline.measure,
    "lag": lateness.measure,
    "scale": scale.measure,
    "emit": emit.measure,
    "memory": memory.measure,
}
PACKAGES = ("celery", "kombu", "redis", "httpx", "aiohttp", "psycopg", "sqlalchemy")
BUSY_LOAD = 0.5
# One alone is not reported: on a busy machine a poll takes more CPU for a while.
GUARD_ROUNDS = 3


def main() -> int:
    """Print the table; return the exit code."""
    chosen = _arguments()
    plan = QUICK if chosen.quick else THOROUGH
    if chosen.minutes is not None:
        plan = replace(plan, memory_minutes=chosen.minutes)
    load_before = os.getloadavg()[0]
    measures = [guard.measure] if chosen.guard else [MEASURES[n] for n in chosen.names or MEASURES]
    with Servers(dict(chosen.settings)) as servers:
        if chosen.renew:
            guard.store(
                [guard.ratios(_measured(servers, plan, measures)) for _ in range(GUARD_ROUNDS)]
            )
            return 0
        machine = _machine(servers, load_before)
        figures = _measured(servers, plan, measures)
        grown = _grown(servers, plan, guard.ratios(figures)) if plan.quick else {}
    figures += baseline.compared(figures)
    heading = textwrap.fill(f"`{_command(chosen)}`, {machine}", LINE_WIDTH)
    text = "\n".join([heading, "", *table(figures), ""])
    sys.stdout.write(text)
    if chosen.json:
        document = {"machine": machine, "figures": [as_json(figure) for figure in figures]}
        chosen.json.write_text(json.dumps(document, indent=2) + "\n")
    if chosen.write:
        _write(text)
    for load, times in grown.items():
        sys.stdout.write(f"CPU per poll, {load}: {times:.2f} times the stored ratio: too much.\n")
    missed = any(figure.met is False for figure in figures)
    return int(bool(grown) if plan.quick else missed)


def _measured(servers: Servers, plan: Plan, measures: Sequence[Measure]) -> list[Figure]:
    figures: list[Figure] = []
    for measure in measures:
        for figure in measure(servers, plan):
            figures.append(figure)
            report(f"  {figure.name}: {figure.median:.3g} {figure.unit}")
    return figures


def _grown(servers: Servers, plan: Plan, now: guard.Ratios) -> guard.Ratios:
    """Compare with the stored ratios; where a poll takes more, measure again and take medians."""
    stored, rounds = guard.stored(), [now]
    while guard.grown(now, stored) and len(rounds) < GUARD_ROUNDS:
        report("more CPU than stored: measuring again")
        rounds.append(guard.ratios(_measured(servers, plan, [guard.measure])))
        now = guard.middle(rounds)
    for load, ratio in now.items():
        report(f"CPU per poll, {load}: {ratio:.3f} of the baseline's, stored {stored[load]:.3f}")
    return guard.grown(now, stored)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}")
    parser.add_argument(
        "--quick", action="store_true", help="short runs: a check, not for publishing"
    )
    parser.add_argument(
        "--guard", action="store_true", help="--quick, only the loads of the stored ratios"
    )
    parser.add_argument("--renew", action="store_true", help="store the current ratios (4 minutes)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--write", action="store_true", help="write the table to docs/")
    parser.add_argument(
        "--minutes", type=float, help="length of the memory slope (default 3; the target is for 30)"
    )
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
        parser.error("--guard and --renew choose what to measure: name none")
    for name in chosen.names:
        if name not in MEASURES:
            parser.error(f"unknown benchmark {name}: choose from {', '.join(MEASURES)}")
    return chosen


def _command(chosen: argparse.Namespace) -> str:
    """Return the command that measures the same again, without its output options."""
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


def _machine(servers: Servers, load: float) -> str:
    with psycopg.connect(servers.database_url) as connection:
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
