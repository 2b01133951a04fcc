"""`session-worker policy`: names, options and help. See `options` for their form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.commands.options import Json

policy = typer.Typer(
    help="Fit the polling policy to your own payment sessions.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@policy.command()
def fit(
    *,
    out: Annotated[Path, typer.Option(help="Policy file to write, for POLL_POLICY_FILE.")],
    traces: Annotated[
        Path | None, typer.Option(help="Traces to fit to; default: the database.")
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option("--policy", help="Prior where data are scarce; default: the shipped policy."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit a policy to recorded status changes and evaluate it.

    Example: session-worker policy fit --out poll_policy.jsonl
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see options

    fitting = devkit("commands.policy", extras="analysis")
    fitting.fit(out=out, traces=traces, prior=prior, as_json=as_json)


@policy.command()
def traces(
    *,
    out: Annotated[Path, typer.Option(help="File to write, as JSON lines.")],
    sessions: Annotated[int, typer.Option(min=1, help="Maximum number of sessions.")] = 50_000,
    as_json: Json = False,
) -> None:
    """Export recorded sessions without ids, for `simulate --traces`.

    Example: session-worker policy traces --out traces.jsonl
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see options

    fitting = devkit("commands.policy", extras="analysis")
    fitting.write_recorded(out=out, sessions=sessions, as_json=as_json)
