"""Commands about payment sessions: names, options and help. See `options` for their form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.commands.options import Json, Limit, SessionId, Yes

sessions = typer.Typer()

_POLL_NOW = """{what}

Example: session-worker {name} 39a1c773-bafd-754d-af1f-b30c592f1267
"""


@sessions.command()
def track(  # an option each
    session_id: Annotated[
        str | None, typer.Argument(help="Klarna's payment session id.", show_default=False)
    ] = None,
    *,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Track a list: a file of JSON lines, or - for stdin."),
    ] = None,
    session_url: Annotated[str | None, typer.Option(help="Klarna's session_url.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="ISO 8601 with time zone.")] = None,
    account: Annotated[str | None, typer.Option(help="A configured account.")] = None,
    kind: Annotated[str | None, typer.Option(help="hpp or kp.")] = None,
    reference: Annotated[str | None, typer.Option(help="Your own id, in every event.")] = None,
    as_json: Json = False,
) -> None:
    """Track a payment session, or a list of them.

    Example: session-worker track 39a1c773-bafd-754d-af1f-b30c592f1267

    Example: session-worker track --from sessions.jsonl
    """
    from worker.commands import bulk, tracking  # noqa: PLC0415 - see options

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
            "cannot be combined with other arguments: the list has them", param_hint="--from"
        )
    raise SystemExit(bulk.track_from(source, as_json=as_json))


@sessions.command("poll-now", help=_POLL_NOW.format(what="The same as nudge.", name="poll-now"))
@sessions.command(help=_POLL_NOW.format(what="Poll a tracked session now.", name="nudge"))
def nudge(session_id: SessionId, *, as_json: Json = False) -> None:
    """Poll a tracked session now."""
    from worker.commands import tracking  # noqa: PLC0415 - see options

    tracking.nudge(session_id, as_json=as_json)


@sessions.command()
def confirm(
    session_id: SessionId,
    order_id: Annotated[str, typer.Argument(help="The id of the order that was placed.")],
    *,
    as_json: Json = False,
) -> None:
    """Confirm that the order was placed; stops its warnings.

    Example: session-worker confirm 39a1c773-bafd-754d-af1f-b30c592f1267 order-1
    """
    from worker.commands import confirming  # noqa: PLC0415 - see options

    confirming.confirm(session_id, order_id, as_json=as_json)


@sessions.command()
def show(session_id: SessionId, *, as_json: Json = False) -> None:
    """Show one payment session with its history.

    Example: session-worker show 39a1c773-bafd-754d-af1f-b30c592f1267
    """
    from worker.commands import reading  # noqa: PLC0415 - see options

    reading.show(session_id, as_json=as_json)


@sessions.command("list")
def list_sessions(  # an option each
    *,
    account: Annotated[str | None, typer.Option(help="Filter by account.")] = None,
    status: Annotated[str | None, typer.Option(help="Filter by Klarna's status.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Filter by outcome.")] = None,
    reference: Annotated[str | None, typer.Option(help="Filter by reference.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only sessions still tracked.")] = False,
    only_unconfirmed: Annotated[
        bool, typer.Option("--unconfirmed", help="Only authorized sessions without an order.")
    ] = False,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List payment sessions, newest first.

    Example: session-worker list --open --account default
    """
    from worker.commands import reading  # noqa: PLC0415 - see options

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


@sessions.command()
def erase(session_id: SessionId, *, yes: Yes = False, as_json: Json = False) -> None:
    """Permanently delete a payment session and its events.

    Example: session-worker erase 39a1c773-bafd-754d-af1f-b30c592f1267 --yes
    """
    from worker.commands import secrets  # noqa: PLC0415 - see options

    if not yes:
        typer.confirm(f"Permanently delete {session_id} and its events?", abort=True)
    secrets.erase(session_id, as_json=as_json)
