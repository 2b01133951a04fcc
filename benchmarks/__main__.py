"""Measures what docs/performance.md says: `bin/bench [--quick] [--json FILE] [NAMES…]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import psycopg

from benchmarks import baseline, chain, emit, lag, memory, scale
from benchmarks.figures import Figure, as_json, table
from benchmarks.plan import QUICK, THOROUGH, Plan
from benchmarks.stage import Stage

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- bin/bench: begin -->\n", "<!-- bin/bench: end -->\n"
MEASURES: dict[str, Callable[[Stage, Plan], Iterator[Figure]]] = {
    "chain": chain.measure,
    "baseline": baseline.measure,
    "lag": lag.measure,
    "scale": scale.measure,
    "emit": emit.measure,
    "memory": memory.measure,
}
PACKAGES = ("celery", "kombu", "redis", "httpx", "aiohttp", "psycopg", "sqlalchemy")
BUSY_LOAD = 0.5


def main() -> int:
    """Print a table as it grows; answer 1 where a target is missed, unless the run was quick."""
    chosen = _arguments()
    plan = QUICK if chosen.quick else THOROUGH
    if chosen.minutes is not None:
        plan = replace(plan, memory_minutes=chosen.minutes)
    load_before = os.getloadavg()[0]
    figures: list[Figure] = []
    with Stage(dict(chosen.settings)) as stage:
        machine = _machine(stage, load_before)
        for name in chosen.names or MEASURES:
            for figure in MEASURES[name](stage, plan):
                figures.append(figure)
                sys.stderr.write(f"{figure.name}: {figure.median:.3g} {figure.unit}\n")
    figures += baseline.compared(figures)
    report = "\n".join([f"`{_command(chosen)}`, {machine}", "", *table(figures), ""])
    sys.stdout.write(report)
    if chosen.json:
        document = {"machine": machine, "figures": [as_json(figure) for figure in figures]}
        chosen.json.write_text(json.dumps(document, indent=2) + "\n")
    if chosen.write:
        _write(report)
    return int(not chosen.quick and any(figure.met is False for figure in figures))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__.partition(":")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that all is well")
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
    for name in chosen.names:
        if name not in MEASURES:
            parser.error(f"there is no benchmark {name}: take one of {', '.join(MEASURES)}")
    return chosen


def _command(chosen: argparse.Namespace) -> str:
    """What gives such figures again; where they were written to is nobody's concern."""
    options = ["--quick"] * chosen.quick
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
