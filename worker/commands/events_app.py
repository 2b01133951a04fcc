"""`session-worker events`: names, options and help. See `options` for their form."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.commands.options import Json, Limit, Yes

events = typer.Typer(
    help="List events and their deliveries, or replay them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

EventId = Annotated[str | None, typer.Option("--event", help="Filter by event id.")]
Session = Annotated[str | None, typer.Option(help="Filter by payment session.")]
Type = Annotated[str | None, typer.Option("--type", help="Filter by type, such as authorized.")]
Since = Annotated[str | None, typer.Option(help="Earliest time: ISO 8601, or 2h for 2 hours ago.")]
Until = Annotated[str | None, typer.Option(help="Latest time: ISO 8601, or 2h for 2 hours ago.")]
Sink = Annotated[str | None, typer.Option(help="Filter by sink.")]
SinkName = Annotated[str, typer.Argument(help="A sink, such as webhook or webhook:erp.")]
State = Annotated[str | None, typer.Option(help="Filter by state: pending, delivered or dead.")]


@events.command("list")
def list_events(  # noqa: PLR0913 - an option each
    *,
    event: EventId = None,
    session: Session = None,
    kind: Type = None,
    since: Since = None,
    until: Until = None,
    sink: Sink = None,
    state: State = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List events with their deliveries, newest first.

    Example: session-worker events list --state pending --since 2h
    """
    from worker.commands.events import Wanted, list_events  # noqa: PLC0415 - see options

    wanted = Wanted(event, session, kind, since, until, sink, state)
    list_events(wanted, limit=limit, as_json=as_json)


@events.command()
def show(
    event_id: Annotated[str, typer.Argument(help="The event's id.")], *, as_json: Json = False
) -> None:
    """Show one event, without its token, and its deliveries.

    Example: session-worker events show 0f0f6d0e-6b0c-5f0a-8a52-3b6a3f1f7a11
    """
    from worker.commands.events import show  # noqa: PLC0415 - see options

    show(event_id, as_json=as_json)


@events.command()
def dead(  # an option each
    *,
    session: Session = None,
    kind: Type = None,
    since: Since = None,
    until: Until = None,
    sink: Sink = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List dead-lettered deliveries: their last attempt failed.

    Example: session-worker events dead --sink webhook
    """
    from worker.commands.events import Wanted, list_events  # noqa: PLC0415 - see options

    wanted = Wanted(None, session, kind, since, until, sink, "dead")
    list_events(wanted, limit=limit, as_json=as_json)


@events.command()
def replay(  # noqa: PLR0913 - an option each
    *,
    event: EventId = None,
    session: Session = None,
    kind: Type = None,
    since: Since = None,
    until: Until = None,
    sink: Sink = None,
    state: State = None,
    without_token: Annotated[
        bool,
        typer.Option("--without-token", help="Include authorized events whose token is deleted."),
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Replay events with the same ids, in order.

    Example: session-worker events replay --sink webhook --state dead
    """
    from worker.commands.events import Wanted, replay  # noqa: PLC0415 - see options

    wanted = Wanted(event, session, kind, since, until, sink, state)
    replay(wanted, without_token=without_token, yes=yes, as_json=as_json)


@events.command()
def enable(sink: SinkName, *, as_json: Json = False) -> None:
    """Enable a sink that is disabled (HTTP 410) or paused.

    Example: session-worker events enable webhook:erp
    """
    from worker.commands.events import enable  # noqa: PLC0415 - see options

    enable(sink, as_json=as_json)


@events.command()
def discard(sink: SinkName, *, yes: Yes = False, as_json: Json = False) -> None:
    """Give up all pending deliveries to a sink; `replay` can undo it.

    Example: session-worker events discard webhook:erp --yes
    """
    from worker.commands.events import discard  # noqa: PLC0415 - see options

    discard(sink, yes=yes, as_json=as_json)
