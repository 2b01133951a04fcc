"""`session-worker refused`: names, options and help. See `options` for their form."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.commands.options import Json, Limit, Yes

refused = typer.Typer(
    help="List, retry or drop messages that were not taken in.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Message = Annotated[int, typer.Argument(min=1, help="The refused message's id.")]
Messages = Annotated[
    list[int] | None, typer.Argument(min=1, help="Ids of refused messages.", show_default=False)
]
Waiting = Annotated[bool, typer.Option("--waiting", help="Only those that wait for a person.")]
Task = Annotated[str | None, typer.Option(help="Filter by task, such as track.")]
Field = Annotated[str | None, typer.Option(help="Filter by the field at fault.")]


@refused.command("list")
def list_refused(
    *,
    waiting: Waiting = False,
    task: Task = None,
    field: Field = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Include resolved ones.")] = False,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List refused messages, newest first, without arguments.

    Example: session-worker refused list --waiting
    """
    from worker.commands import refused as refusing  # noqa: PLC0415 - see options

    chosen = refusing.wanted(None, waiting=waiting, task=task, field=field, resolved=resolved)
    refusing.list_refused(chosen, limit=limit, as_json=as_json)


@refused.command()
def show(
    refused_id: Message,
    *,
    arguments: Annotated[
        bool, typer.Option("--arguments", help="Decrypt its arguments, which may be personal data.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one refused message.

    Example: session-worker refused show 17 --arguments
    """
    from worker.commands import refused as refusing  # noqa: PLC0415 - see options

    refusing.show(refused_id, arguments=arguments, as_json=as_json)


@refused.command()
def retry(
    refused_ids: Messages = None,
    *,
    waiting: Waiting = False,
    task: Task = None,
    field: Field = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Have a worker try refused messages again now.

    Example: session-worker refused retry --waiting --field account --yes
    """
    from worker.commands import refused as refusing  # noqa: PLC0415 - see options

    chosen = refusing.wanted(refused_ids, waiting=waiting, task=task, field=field)
    refusing.retry(chosen, yes=yes, as_json=as_json)


@refused.command()
def drop(
    refused_ids: Messages = None,
    *,
    waiting: Waiting = False,
    task: Task = None,
    field: Field = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give up refused messages; their arguments are deleted.

    Example: session-worker refused drop 17 18
    """
    from worker.commands import refused as refusing  # noqa: PLC0415 - see options

    chosen = refusing.wanted(refused_ids, waiting=waiting, task=task, field=field)
    refusing.drop(chosen, yes=yes, as_json=as_json)


@refused.command()
def confirmations(*, limit: Limit = 50, as_json: Json = False) -> None:
    """List orders confirmed over a day ago for untracked sessions.

    Example: session-worker refused confirmations
    """
    from worker.commands import refused as refusing  # noqa: PLC0415 - see options

    refusing.confirmations(limit=limit, as_json=as_json)
