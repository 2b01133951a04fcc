"""`session-worker events`: names, options and help; the work is in `worker.commands.events`."""

from __future__ import annotations

from typing import Annotated

import typer

events = typer.Typer(
    help="List events and their deliveries, or send them again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Answer one JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
EventId = Annotated[str | None, typer.Option("--event", help="Only the event with this id.")]
Session = Annotated[str | None, typer.Option(help="Only of this payment session.")]
Type = Annotated[str | None, typer.Option("--type", help="Only of this type, such as authorized.")]
Since = Annotated[str | None, typer.Option(help="From then on: ISO 8601, or 2h for 2 hours ago.")]
Until = Annotated[str | None, typer.Option(help="Until then, likewise.")]
Sink = Annotated[str | None, typer.Option(help="Only deliveries to this sink.")]
SinkName = Annotated[str, typer.Argument(help="A sink, such as webhook or webhook:erp.")]
State = Annotated[str | None, typer.Option(help="pending, delivered or dead.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")]

# Commands import what they need when they run: `--help` stays quick.


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
    """List events with their deliveries, the newest first.

    Example: session-worker events list --state pending --since 2h
    """
    from worker.commands.events import Wanted, list_events  # noqa: PLC0415 - see above

    wanted = Wanted(event, session, kind, since, until, sink, state)
    list_events(wanted, limit=limit, as_json=as_json)


@events.command()
def show(
    event_id: Annotated[str, typer.Argument(help="The event's id.")], *, as_json: Json = False
) -> None:
    """Show one event, without its token, and how its deliveries stand.

    Example: session-worker events show 0f0f6d0e-6b0c-5f0a-8a52-3b6a3f1f7a11
    """
    from worker.commands.events import show  # noqa: PLC0415 - see above

    show(event_id, as_json=as_json)


@events.command()
def dead(
    *,
    session: Session = None,
    kind: Type = None,
    since: Since = None,
    until: Until = None,
    sink: Sink = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List dead deliveries: those that were tried for the last time.

    Example: session-worker events dead --sink webhook
    """
    from worker.commands.events import Wanted, list_events  # noqa: PLC0415 - see above

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
        bool, typer.Option("--without-token", help="Authorized events whose token is erased, too.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Send events again, under their old ids and in their order.

    Example: session-worker events replay --sink webhook --state dead
    """
    from worker.commands.events import Wanted, replay  # noqa: PLC0415 - see above

    wanted = Wanted(event, session, kind, since, until, sink, state)
    replay(wanted, without_token=without_token, yes=yes, as_json=as_json)


@events.command()
def enable(sink: SinkName, *, as_json: Json = False) -> None:
    """Send to an endpoint again. It was disabled by 410 Gone, or asked for a pause.

    Example: session-worker events enable webhook:erp
    """
    from worker.commands.events import enable  # noqa: PLC0415 - see above

    enable(sink, as_json=as_json)


@events.command()
def discard(sink: SinkName, *, yes: Yes = False, as_json: Json = False) -> None:
    """Give up everything that waits for a sink. `replay` brings it back.

    Example: session-worker events discard webhook:erp --yes
    """
    from worker.commands.events import discard  # noqa: PLC0415 - see above

    discard(sink, yes=yes, as_json=as_json)
