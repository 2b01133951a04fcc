"""`session-worker policy`: names, options and help; the work is in `devkit.commands.policy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

policy = typer.Typer(
    help="Fit the polling policy to your own customers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Answer one JSON document.")]

# Commands import what they need when they run: `--help` stays quick.


@policy.command()
def fit(
    *,
    out: Annotated[Path, typer.Option(help="The policy file to write, for POLL_POLICY_FILE.")],
    traces: Annotated[
        Path | None, typer.Option(help="Traces to fit to, not the recorded transitions.")
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option("--policy", help="What to shrink to where data are few, not the shipped one."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit a policy to the recorded status changes. Shows what it is worth on them.

    Example: session-worker policy fit --out poll_policy.jsonl
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see above

    fitting = devkit("commands.policy", extras="analysis")
    fitting.fit(out=out, traces=traces, prior=prior, as_json=as_json)


@policy.command()
def traces(
    *,
    out: Annotated[Path, typer.Option(help="The file to write: JSON Lines.")],
    sessions: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50_000,
    as_json: Json = False,
) -> None:
    """Write the recorded sessions' lives, without any id. `simulate --traces` reads them.

    Example: session-worker policy traces --out traces.jsonl
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see above

    fitting = devkit("commands.policy", extras="analysis")
    fitting.write_recorded(out=out, sessions=sessions, as_json=as_json)
