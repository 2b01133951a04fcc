"""The shipped policy compared with other schedules, at the same number of requests.

    .venv/bin/python -m benchmarks.polling [--write]

Deterministic: the same figures on every machine. `--write` writes the tables and the plots to
docs/. Exit code 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from config.settings import SHIPPED_POLICY
from devkit.simulation.baselines import by_policy, exponential
from devkit.simulation.comparison import SOON_SECONDS, Row, compare, families
from devkit.simulation.fitting import fit
from devkit.simulation.plot import draw_frontier, draw_intervals
from devkit.simulation.population import draw
from devkit.simulation.replay import Schedule, replay
from devkit.simulation.sojourns import sojourns_of_traces
from devkit.simulation.traces import Trace
from devkit.simulation.tuning import tuned
from worker.adapters.policy_file import read_policy
from worker.domain.policy import PollPolicy

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- benchmarks.polling: begin -->\n", "<!-- benchmarks.polling: end -->\n"

# A few very late completions weigh much: with fewer sessions the mean is imprecise.
SESSIONS = 60_000
SEED = 11
REQUESTS = (50.0, 80.0)
FITTED_TO = (5_000, 50_000)
# Targets at 50 and at 80 requests per session: the mean and the 95th percentile, seconds.
TARGETS = {50.0: (14.5, 35.0), 80.0: (6.5, 16.0)}


def main() -> int:
    """Print the tables and the targets; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write them into docs/polling.md")
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="of each population")
    chosen = parser.parse_args()
    policy = read_policy(SHIPPED_POLICY)
    assumed = draw("assumed", chosen.sessions, seed=SEED)
    shifted = draw("shifted", chosen.sessions, seed=SEED)
    rows = _compared(policy, assumed, REQUESTS)
    rows.insert(0, _quick_start(assumed))
    elsewhere = [*_compared(policy, shifted, REQUESTS[:1]), *_fitted(policy, shifted)]
    report = _report(rows, elsewhere, sessions=chosen.sessions)
    sys.stdout.write(report)
    if chosen.write:
        _write(report)
        draw_frontier([row for row in rows if row.wanted], DOCS / "polling_frontier.png")
        statuses = ("WAITING", "IN_PROGRESS", "BACK", "incomplete")
        draw_intervals(policy.for_requests(50), statuses, DOCS / "polling_intervals.png")
    return int(any(not met for _, _, _, met in _targets(rows, elsewhere)))


def _compared(policy: PollPolicy, traces: list[Trace], requests: tuple[float, ...]) -> list[Row]:
    rows = []
    for row in compare(families(policy, traces), traces, requests):
        sys.stderr.write(f"{row.schedule}, {row.wanted:g} requests: done\n")
        rows.append(row)
    return rows


def _quick_start(traces: list[Trace]) -> Row:
    """A common first choice, not tuned to any number of requests."""
    name = "exponential x1.5, 5 s to 30 min"
    return Row(name, 0.0, replay(traces, exponential(1.5, 5.0, 1800.0)))


def _fitted(prior: PollPolicy, traces: list[Trace]) -> Iterator[Row]:
    """Policies fitted to few and to many sessions of the shifted population."""
    for sessions in FITTED_TO:
        lives = draw("shifted", sessions, seed=SEED + sessions)
        policy = fit(sojourns_of_traces(lives), lives[:5_000], prior=prior, requests=50)
        family = partial(_scaled, policy)
        yield Row(f"fitted to {sessions:,} sessions", 50, tuned(family, 50, traces))


def _scaled(policy: PollPolicy, scale: float) -> Schedule:
    return by_policy(replace(policy, scale=scale))


def _report(rows: list[Row], elsewhere: list[Row], *, sessions: int) -> str:
    lines = [
        f"{sessions:,} payment sessions of the assumed population, seed {SEED}:",
        "",
        *_table(rows),
        "",
        f"{sessions:,} of the shifted one, by the policy for the assumed one and by fitted ones:",
        "",
        *_table(elsewhere),
        "",
        "| target | asked for, at most | measured | |",
        "|---|---|---|---|",
        *(
            f"| {name} | {asked:.1f} | {measured:.1f} | {'met' if met else '**missed**'} |"
            for name, asked, measured, met in _targets(rows, elsewhere)
        ),
    ]
    return "\n".join(lines) + "\n"


def _table(rows: list[Row]) -> Iterator[str]:
    yield "| schedule | requests | mean, s | p50 | p95 | p99 | within 10 s | never seen |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        made = row.made
        delays = (made.mean_delay, *map(made.percentile, (50, 95, 99)))
        cells = (
            row.schedule,
            f"{made.requests_per_session:.1f}",
            *(f"{delay or 0:.1f}" for delay in delays),
            f"{100 * (made.within(SOON_SECONDS) or 0):.1f} %",
            f"{100 * made.never_seen_share:.1f} %",
        )
        yield f"| {' | '.join(cells)} |"


def _targets(rows: list[Row], elsewhere: list[Row]) -> Iterator[tuple[str, float, float, bool]]:
    """Each target in seconds, what was measured, and whether it is met."""
    for wanted, (mean, p95) in TARGETS.items():
        made = next(row.made for row in rows if row.wanted == wanted)
        yield _target(f"mean delay at {wanted:g} requests, s", mean, made.mean_delay)
        yield _target(f"p95 at {wanted:g} requests, s", p95, made.percentile(95))
    ours, *others = (row.made.mean_delay or 0.0 for row in elsewhere[:-2])
    yield _target("shifted: mean delay, s; the best other schedule", min(others), ours)
    few, many = (row.made.mean_delay or 0.0 for row in elsewhere[-2:])
    yield _target("shifted: mean delay, s, fitted to few; to many + 10 %", 1.1 * many, few)


def _target(name: str, asked: float, measured: float | None) -> tuple[str, float, float, bool]:
    return name, asked, measured or 0.0, (measured or 0.0) <= asked


def _write(report: str) -> None:
    page = DOCS / "polling.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{report}\n{END}{after}")


if __name__ == "__main__":
    raise SystemExit(main())
