"""simulate: compare a policy with other schedules, at the same number of requests."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import track as progress

from config.settings import SHIPPED_POLICY
from devkit.simulation.comparison import Row, compare, families
from devkit.simulation.population import draw
from devkit.simulation.traces import Trace, read_traces
from worker.adapters.json_lines import JsonLinesError
from worker.adapters.policy_file import read_policy
from worker.commands.output import WRONG_USAGE, fail, print_json, print_rows, say
from worker.domain.policy import PollPolicy


def simulate(  # one parameter for each option of the command
    *,
    traces: Path | None,
    policy: Path | None,
    requests: Sequence[float],
    population: str,
    sessions: int,
    seed: int,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Replay traces, or sessions drawn from a population; print the delays of each schedule."""
    if plot is not None and find_spec("matplotlib") is None:
        fail("--plot needs matplotlib: pip install 'klarna-session-worker[analysis]'.")
    try:
        chosen = read_policy(policy or SHIPPED_POLICY)
        lives = read_traces(traces) if traces else draw(population, sessions, seed=seed)
    except JsonLinesError as error:
        fail(str(error), code=WRONG_USAGE)
    rows = _compared(chosen, lives, requests)
    if plot is not None:
        _plot(rows, plot)
    _print(rows, lives, as_json=as_json, plot=plot)


def _compared(policy: PollPolicy, lives: Sequence[Trace], requests: Sequence[float]) -> list[Row]:
    found = families(policy, lives)
    return list(
        progress(
            compare(found, lives, requests),
            total=len(found) * len(requests),
            description="Replaying",
            console=Console(stderr=True),
            transient=True,
        )
    )


def _plot(rows: Sequence[Row], file: Path) -> None:
    from devkit.simulation.plot import draw_frontier  # noqa: PLC0415 - needs the extra

    try:
        draw_frontier(rows, file)
    except (OSError, ValueError) as error:
        fail(f"--plot: {file} cannot be written: {error}")


def _print(
    rows: Sequence[Row], lives: Sequence[Trace], *, as_json: bool, plot: Path | None
) -> None:
    figures = [row.figures() for row in rows]
    completions = sum(life.final_at is not None for life in lives)
    if as_json:
        print_json({"sessions": len(lives), "completions": completions, "schedules": figures})
        return
    title = f"{len(lives)} payment sessions, {completions} of them became final"
    print_rows(title, [_shares_in_percent(row) for row in figures], none="nothing to compare")
    say("Delays: seconds from the final status to the read that saw it. Requests include the")
    say("first read, when tracking begins, and the last, after the expiry.")
    if plot is not None:
        say(f"Plot written to {plot}.")


def _shares_in_percent(figures: dict[str, object]) -> dict[str, object]:
    return {
        name: f"{100 * value:.1f} %"
        if name in {"within_10_s", "never_seen"} and isinstance(value, float)
        else value
        for name, value in figures.items()
    }
