"""Commands that need the devkit: names, options and help. See `options` for their form."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from worker.commands.options import Host, Json, Port

local = typer.Typer()


class Population(StrEnum):
    """Assumed populations that `simulate` draws from."""

    ASSUMED = "assumed"
    SHIFTED = "shifted"


@local.command()
def demo(
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running afterwards.")
    ] = False,
) -> None:
    """Run a demonstration on embedded servers with a mock Klarna.

    Example: session-worker demo --keep
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see options

    runner = devkit("demo.runner", extras="console,embedded,sandbox")
    raise SystemExit(runner.run(keep=keep))


@local.command()
def up(
    *,
    state: Annotated[Path, typer.Option(help="Data directory of embedded servers.")] = Path(
        ".local"
    ),
    flower_port: Annotated[int, Port(help="Flower's port.")] = 5555,
    console_port: Annotated[int, Port(help="The console's port.")] = 8098,
) -> None:
    """Run everything locally, embedded servers included.

    Example: session-worker up --flower-port 5556
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see options

    starter = devkit("commands.up", extras="console,embedded")
    starter.up(state=state, flower_port=flower_port, console_port=console_port)


@local.command()
def sandbox(
    *,
    host: Host = "127.0.0.1",
    port: Annotated[int, Port(help="Port to listen on.")] = 8097,
    seed: Annotated[int | None, typer.Option(help="Seed for repeatable ids.")] = None,
) -> None:
    """Run the mock Klarna server; its control API is at /_sandbox.

    Example: session-worker sandbox --port 8097
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see options
    from worker.commands.output import console, fail  # noqa: PLC0415 - see options

    serving = devkit("sandbox.serving", extras="sandbox")
    try:
        serving.serve(host, port, options=serving.Options(seed=seed), listening=console.print)
    except OSError as error:
        fail(f"--port: cannot listen on {host}:{port}: {error.strerror}")


@local.command()
def simulate(  # an option each
    *,
    traces: Annotated[
        Path | None, typer.Option(help="Recorded sessions as JSON lines; - is stdin.")
    ] = None,
    policy_file: Annotated[
        Path | None, typer.Option("--policy", help="Policy file; default: the shipped policy.")
    ] = None,
    requests: Annotated[
        list[float] | None,
        typer.Option(min=1, max=1000, help="Requests per session; may be repeated."),
    ] = None,
    population: Annotated[
        Population, typer.Option(help="Population to draw from without --traces.")
    ] = Population.ASSUMED,
    sessions: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of sessions.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the random sessions.")] = 1,
    as_json: Json = False,
    plot: Annotated[
        Path | None, typer.Option(help="Write a PNG of delay against requests.")
    ] = None,
) -> None:
    """Compare polling policies on recorded or random sessions.

    Example: session-worker simulate --requests 50 --requests 80
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see options

    devkit("commands.simulate", extras="analysis").simulate(
        traces=traces,
        policy=policy_file,
        requests=requests or [50.0],
        population=population,
        sessions=sessions,
        seed=seed,
        as_json=as_json,
        plot=plot,
    )
