"""The `session-worker` command: names, options and help; the work is in `worker.commands`.

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from cryptography.fernet import Fernet

from config import logconfig
from config.env_file import load_env_files
from worker.commands.events_app import events
from worker.commands.policy_app import policy

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Population(StrEnum):
    """Assumed populations that simulate draws from."""

    ASSUMED = "assumed"
    SHIFTED = "shifted"


def _tell_version(wanted: bool) -> None:  # noqa: FBT001 - typer gives it so
    if wanted:
        sys.stdout.write(f"{version('klarna-session-worker')}\n")
        raise typer.Exit


Json = Annotated[bool, typer.Option("--json", help="Answer one JSON document.")]
# 0 is any free one.
Port = partial(typer.Option, min=0, max=65_535)
SessionId = Annotated[str, typer.Argument(help="Klarna's payment session id.")]

# Commands import what they need when they run: `--help` stays quick.


@app.callback()
def options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    """Follows Klarna payment sessions to their end."""


@app.command()
def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running.")] = False,
) -> None:
    """Show the main job, with servers and a Klarna stand-in.

    Example: session-worker demo --keep
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see above

    runner = devkit("demo.runner", extras="console,embedded,sandbox")
    raise SystemExit(runner.run(keep=keep))


@app.command()
def up(
    *,
    state: Annotated[Path, typer.Option(help="Where embedded servers keep their data.")] = Path(
        ".local"
    ),
    flower_port: Annotated[int, Port(help="Where Flower listens.")] = 5555,
    console_port: Annotated[int, Port(help="Where the console listens.")] = 8098,
) -> None:
    """Run everything on this machine. Servers come along where no URL names one.

    Example: session-worker up --flower-port 5556
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see above

    starter = devkit("commands.up", extras="console,embedded")
    starter.up(state=state, flower_port=flower_port, console_port=console_port)


@app.command()
def check(*, as_json: Json = False) -> None:
    """Look at everything a deployment needs, one line each.

    Example: session-worker check
    """
    from worker.commands import check as checking  # noqa: PLC0415 - see above

    raise SystemExit(checking.check(as_json=as_json))


@app.command()
def health(
    *,
    late: Annotated[float, typer.Option(min=1, help="Seconds that anything may wait.")] = 120,
    as_json: Json = False,
) -> None:
    """Look for progress; exit 1 where polls or events are stuck.

    Example: session-worker health --late 60
    """
    from worker.commands import check as checking  # noqa: PLC0415 - see above

    raise SystemExit(checking.health(late=timedelta(seconds=late), as_json=as_json))


@app.command()
def track(
    session_id: Annotated[
        str | None, typer.Argument(help="Klarna's payment session id.", show_default=False)
    ] = None,
    *,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A file of JSON lines, or - for standard input."),
    ] = None,
    session_url: Annotated[str | None, typer.Option(help="Klarna's session_url.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="ISO 8601 with time zone.")] = None,
    account: Annotated[str | None, typer.Option(help="A configured account.")] = None,
    kind: Annotated[str | None, typer.Option(help="hpp or kp.")] = None,
    reference: Annotated[str | None, typer.Option(help="Your own id, in every event.")] = None,
    as_json: Json = False,
) -> None:
    """Enqueue a payment session, as a shop does. Or track a whole list.

    Example: session-worker track 39a1c773-bafd-754d-af1f-b30c592f1267

    Example: session-worker track --from sessions.jsonl
    """
    from worker.commands import bulk, tracking  # noqa: PLC0415 - see above

    arguments: dict[str, object] = {
        "session_id": session_id,
        "session_url": session_url,
        "expires_at": expires_at,
        "account": account,
        "kind": kind,
        "reference": reference,
    }
    if source is None:
        tracking.track(arguments, as_json=as_json)
        return
    if any(value is not None for value in arguments.values()):
        raise typer.BadParameter(
            "takes every argument from the list: give no other", param_hint="--from"
        )
    raise SystemExit(bulk.track_from(source, as_json=as_json))


@app.command()
def nudge(session_id: SessionId, *, as_json: Json = False) -> None:
    """Have a followed payment session polled now.

    Example: session-worker nudge 39a1c773-bafd-754d-af1f-b30c592f1267
    """
    from worker.commands import tracking  # noqa: PLC0415 - see above

    tracking.nudge(session_id, as_json=as_json)


@app.command()
def confirm(
    session_id: SessionId,
    order_id: Annotated[str, typer.Argument(help="The order that was placed.")],
    *,
    as_json: Json = False,
) -> None:
    """Note that an order was placed. The warnings of its authorization stop.

    Example: session-worker confirm 39a1c773-bafd-754d-af1f-b30c592f1267 order-1
    """
    from worker.commands import confirming  # noqa: PLC0415 - see above

    confirming.confirm(session_id, order_id, as_json=as_json)


@app.command()
def show(session_id: SessionId, *, as_json: Json = False) -> None:
    """Tell one payment session's story. It has transitions, polls and deliveries.

    Example: session-worker show 39a1c773-bafd-754d-af1f-b30c592f1267
    """
    from worker.commands import reading  # noqa: PLC0415 - see above

    reading.show(session_id, as_json=as_json)


@app.command("list")
def list_sessions(
    *,
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
    status: Annotated[str | None, typer.Option(help="Only with this status of Klarna's.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only that ended so.")] = None,
    reference: Annotated[str | None, typer.Option(help="Only with this reference.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only still followed.")] = False,
    only_unconfirmed: Annotated[
        bool, typer.Option("--unconfirmed", help="Only authorized without an order.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List payment sessions, the newest first.

    Example: session-worker list --open --account default
    """
    from worker.commands import reading  # noqa: PLC0415 - see above

    reading.list_sessions(
        as_json=as_json,
        account=account,
        status=status,
        outcome=outcome,
        reference=reference,
        only_open=only_open,
        only_unconfirmed=only_unconfirmed,
        limit=limit,
    )


@app.command()
def stats(*, as_json: Json = False) -> None:
    """Count payment sessions, what is due, the outbox, accounts.

    Example: session-worker stats --json
    """
    from worker.commands import reading  # noqa: PLC0415 - see above

    reading.stats(as_json=as_json)


@app.command()
def sandbox(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Port(help="Port to listen on.")] = 8097,
    seed: Annotated[int | None, typer.Option(help="Makes generated ids repeatable.")] = None,
) -> None:
    """Serve a Klarna stand-in; its control API is at /_sandbox.

    Example: session-worker sandbox --port 8097
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see above
    from worker.commands.output import console, fail  # noqa: PLC0415 - see above

    serving = devkit("sandbox.serving", extras="sandbox")
    try:
        serving.serve(host, port, options=serving.Options(seed=seed), listening=console.print)
    except OSError as error:
        fail(f"--port: cannot listen on {host}:{port}: {error.strerror}")


@app.command()
def console(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Port(help="Port to listen on.")] = 8098,
) -> None:
    """Serve web pages for the person on call. CONSOLE_BASIC_AUTH is their login.

    Example: session-worker console --port 8098
    """
    from worker.commands.console import console as serve_console  # noqa: PLC0415 - see above

    serve_console(host=host, port=port)


@app.command()
def simulate(
    *,
    traces: Annotated[
        Path | None, typer.Option(help="JSON Lines of payment sessions' lives; - is stdin.")
    ] = None,
    policy_file: Annotated[
        Path | None, typer.Option("--policy", help="Another policy than the shipped one.")
    ] = None,
    requests: Annotated[
        list[float] | None,
        typer.Option(min=1, max=1000, help="Requests per session; again for more."),
    ] = None,
    population: Annotated[
        Population, typer.Option(help="Where no traces are given: drawn from this.")
    ] = Population.ASSUMED,
    sessions: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many of it.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same sessions.")] = 1,
    as_json: Json = False,
    plot: Annotated[Path | None, typer.Option(help="Draw delay against requests: a PNG.")] = None,
) -> None:
    """Replay payment sessions by a policy and other schedules. Each has as many requests.

    Example: session-worker simulate --requests 50 --requests 80
    """
    from worker.commands.devkit import devkit  # noqa: PLC0415 - see above

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


@app.command("generate-key")
def generate_key() -> None:
    """Print a new key for TOKEN_ENCRYPTION_KEYS.

    Example: session-worker generate-key
    """
    sys.stdout.write(Fernet.generate_key().decode() + "\n")


@app.command("rotate-keys")
def rotate_keys(*, as_json: Json = False) -> None:
    """Encrypt every stored token anew. The first of TOKEN_ENCRYPTION_KEYS does it.

    Example: session-worker rotate-keys
    """
    from worker.commands import secrets  # noqa: PLC0415 - see above

    secrets.rotate_keys(as_json=as_json)


@app.command()
def erase(
    session_id: SessionId,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a payment session wholly: it cannot be brought back.

    Example: session-worker erase 39a1c773-bafd-754d-af1f-b30c592f1267 --yes
    """
    from worker.commands import secrets  # noqa: PLC0415 - see above

    if not yes:
        typer.confirm(f"Erase {session_id} and its events?", abort=True)
    secrets.erase(session_id, as_json=as_json)


app.add_typer(events, name="events")
app.add_typer(policy, name="policy")


def main() -> None:
    """Run the command; a `.env` in the working directory fills what the environment lacks.

    So does a running `up` that was started there: its servers are found without naming them.
    """
    if any("\udc80" <= character <= "\udcff" for each in sys.argv for character in each):
        # What Python makes of bytes that are no text; no id is written so, and no query takes it.
        sys.stderr.write("An argument is not UTF-8.\n")
        sys.exit(2)
    # The demo is nobody's deployment. What a killed `up` left behind names servers that are gone.
    if sys.argv[1:2] != ["demo"]:
        load_env_files(up=sys.argv[1:2] != ["up"])
    logconfig.configure("WARNING")
    app()
