"""The `session-worker` command: names, options and help; the work is in `worker.commands`.

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from importlib.metadata import version
from typing import Annotated

import typer

from config import logconfig
from config.env_file import load_env_files
from worker.commands.events_app import events
from worker.commands.local_app import local
from worker.commands.options import Host, Json, Port
from worker.commands.policy_app import policy
from worker.commands.refused_app import refused
from worker.commands.sessions_app import sessions

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        sys.stdout.write(f"{version('klarna-session-worker')}\n")
        raise typer.Exit


@app.callback()
def options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Track Klarna payment sessions until they reach a final status or expire."""


@app.command()
def check(*, as_json: Json = False) -> None:
    """Check the deployment: settings, servers, credentials.

    Example: session-worker check
    """
    from worker.commands import check as checking  # noqa: PLC0415 - see options

    raise SystemExit(checking.check(as_json=as_json))


@app.command()
def health(
    *,
    live: Annotated[bool, typer.Option("--live", help="Check PROGRESS_FILE alone.")] = False,
    late: Annotated[float, typer.Option(min=1, help="Longest wait in seconds that is OK.")] = 120,
    as_json: Json = False,
) -> None:
    """Check the deployment: exit code 1 for any fault.

    Example: session-worker health --late 60
    """
    if live:
        from worker.commands import live as progress  # noqa: PLC0415 - see options

        raise SystemExit(progress.live(as_json=as_json))
    from worker.commands import health as deployment  # noqa: PLC0415 - see options

    raise SystemExit(deployment.health(late=timedelta(seconds=late), as_json=as_json))


@app.command()
def stats(*, as_json: Json = False) -> None:
    """Count payment sessions, due sessions, events; show accounts.

    Example: session-worker stats --json
    """
    from worker.commands import reading  # noqa: PLC0415 - see options

    reading.stats(as_json=as_json)


@app.command()
def console(
    *,
    host: Host = "127.0.0.1",
    port: Annotated[int, Port(help="Port to listen on.")] = 8098,
) -> None:
    """Serve the web console; CONSOLE_BASIC_AUTH sets its logins.

    Example: session-worker console --port 8098
    """
    from worker.commands.console import console as serve_console  # noqa: PLC0415 - see options

    serve_console(host=host, port=port)


@app.command("generate-key")
def generate_key() -> None:
    """Print a new key for TOKEN_ENCRYPTION_KEYS.

    Example: session-worker generate-key
    """
    from cryptography.fernet import Fernet  # noqa: PLC0415 - see options

    sys.stdout.write(Fernet.generate_key().decode() + "\n")


@app.command("rotate-keys")
def rotate_keys(*, as_json: Json = False) -> None:
    """Re-encrypt all that is stored encrypted with the first key.

    Example: session-worker rotate-keys
    """
    from worker.commands import secrets  # noqa: PLC0415 - see options

    secrets.rotate_keys(as_json=as_json)


app.add_typer(sessions)
app.add_typer(local)
app.add_typer(events, name="events")
app.add_typer(refused, name="refused")
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
