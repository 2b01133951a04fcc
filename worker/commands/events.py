"""events list, show, dead, replay, enable, discard: look at the outbox and repair deliveries."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import typer

from config.settings import DatabaseSettings, Settings, load
from worker.adapters import clock
from worker.adapters.postgres.reports import replay as replaying
from worker.adapters.postgres.reports.events import STATES, DeliveryFilter, EventReports
from worker.adapters.postgres.reports.replay import Replay, Replayable
from worker.commands.output import (
    WRONG_USAGE,
    counted,
    fail,
    print_facts,
    print_json,
    print_rows,
    say,
    text,
)
from worker.commands.reading import reports, writing
from worker.domain.events import EventType

_AGO = re.compile(r"(?P<count>[0-9]{1,5})(?P<unit>[smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PREFIX = "payment_session."


class Wanted(NamedTuple):
    """The filters as the user gave them."""

    event: str | None
    session: str | None
    kind: str | None
    since: str | None
    until: str | None
    sink: str | None
    state: str | None

    def checked(self) -> DeliveryFilter:
        """Return the parsed filters, or end the command with one line."""
        if self.state not in {None, *STATES}:
            fail(f"--state: must be one of {', '.join(STATES)}", code=WRONG_USAGE)
        return DeliveryFilter(
            event_id=None if self.event is None else _event_id("--event", self.event),
            session_id=self.session,
            event_type=_event_type(self.kind),
            since=_moment("--since", self.since),
            until=_moment("--until", self.until),
            sink=self.sink,
            state=self.state,
        )


def list_events(wanted: Wanted, *, limit: int, as_json: bool) -> None:
    """List the newest events that match."""
    chosen = wanted.checked()
    with reports(EventReports) as opened:
        rows = opened.deliveries(chosen, limit=limit)
    if as_json:
        print_json(rows)
        return
    title = "Dead-lettered deliveries" if wanted.state == "dead" else "Events"
    print_rows(title, [_listed(row) for row in rows], none="none match")
    if len(rows) == limit:
        say(f"Only the newest {limit}: raise --limit, or narrow --since and --until.")


def show(event_id: str, *, as_json: bool) -> None:
    """Show one event and its deliveries."""
    wanted = _event_id("EVENT_ID", event_id)
    with reports(EventReports) as opened:
        event = opened.event(wanted)
    if event is None:
        fail(f"{wanted} does not exist: `session-worker events list` lists events.")
    if as_json:
        print_json(event)
        return
    envelope = event["payload"]
    facts = {name: value for name, value in envelope.items() if name != "data"}
    print_facts(f"Event {wanted}", facts)
    print_facts("data", envelope.get("data", {}))
    shown = [{"sink": row["sink"]} | _standing(row) for row in event["deliveries"]]
    print_rows("Deliveries", shown, none="no sink accepts events of this type")


def replay(wanted: Wanted, *, without_token: bool, yes: bool, as_json: bool) -> None:
    """Make deliveries due again, after asking for confirmation."""
    chosen = wanted.checked()
    if not any(wanted):
        fail(
            "Name the events to replay by --event, --session, --type, --since, --until, --sink or "
            "--state.",
            code=WRONG_USAGE,
        )
    settings = load(Settings)
    again = Replay(wanted=chosen, sinks=settings.delivery_sinks, without_token=without_token)
    with writing(settings) as engine:
        found = again.count(engine)
        left_out = _left_out(found, without_token=without_token)
        if not as_json:
            for line in left_out:
                say(line)
        if found.deliveries and not yes:
            _ask(f"Replay {counted(found.events, 'event')}, {_deliveries(found.deliveries)}?")
        sent = sum(again.send(engine, found)) if found.deliveries else 0
    if as_json:
        print_json({"replayed": sent, "left_out": left_out})
    elif sent:
        say(f"{_deliveries(sent)} due now; see `session-worker events list`.")
    elif not left_out:
        say("No events match; nothing is replayed.")


def enable(sink: str, *, as_json: bool) -> None:
    """Enable a disabled endpoint, or end the pause that a sink requested."""
    with writing(load(DatabaseSettings)) as engine:
        done = replaying.enable(engine, sink)
        waiting = replaying.count_pending(engine, sink) if done else 0
    if not done:
        fail(f"{sink} is neither disabled nor paused; see `session-worker stats`.")
    if as_json:
        print_json({"sink": sink, "enabled": True, "pending": waiting})
        return
    say(f"{sink} is enabled; {_deliveries(waiting)} due now.")


def discard(sink: str, *, yes: bool, as_json: bool) -> None:
    """Give up every pending delivery to a sink."""
    with writing(load(DatabaseSettings)) as engine:
        waiting = replaying.count_pending(engine, sink)
        if waiting and not yes:
            _ask(f"Give up {counted(waiting, 'pending delivery', 'pending deliveries')} to {sink}?")
        given_up = sum(replaying.discard(engine, sink)) if waiting else 0
    if as_json:
        print_json({"sink": sink, "discarded": given_up})
    elif given_up:
        say(f"{_deliveries(given_up)} to {sink} given up; `events replay` can resend.")
    else:
        say(f"No pending deliveries to {sink}.")


def _deliveries(number: int) -> str:
    return counted(number, "delivery", "deliveries")


def _ask(question: str) -> None:
    typer.confirm(question, abort=True, err=True)


def _left_out(found: Replayable, *, without_token: bool) -> list[str]:
    lines = []
    if found.without_token and not without_token:
        lines.append(
            f"{counted(found.without_token, 'authorized event')} skipped: the token expired and "
            "was deleted; --without-token replays without it."
        )
    if found.unknown_sinks:
        names = ", ".join(found.unknown_sinks)
        lines.append(f"Deliveries to {names} skipped: EVENT_SINKS does not name them.")
    return lines


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_id": row["event_id"],
        "session_id": row["session_id"],
        "#": row["sequence"],
        "event": row["event_type"].removeprefix(_PREFIX),
        "at": row["created_at"],
        "sink": row["sink"],
    } | _standing(row)


def _standing(row: dict[str, Any]) -> dict[str, Any]:
    error = row["last_error"]
    reason = error or "not attempted yet"
    if row["state"] == "delivered":
        said = f"delivered {text(row['delivered_at'])}"
    elif row["state"] == "dead":
        said = f"given up {text(row['dead_at'])}: {error}"
    elif row["waits_for"]:
        said = f"waits for event {row['waits_for']}"
    elif row["sink_disabled"]:
        said = f"its sink is disabled: {reason}"
    elif row["sink_held_until"]:
        said = f"its sink is paused until {text(row['sink_held_until'])}: {reason}"
    elif row["sink"]:
        said = f"pending, due {text(row['next_attempt_at'])}: {reason}"
    else:
        said = "no sink accepts it"
    return {"attempts": row["attempts"], "state": said}


def _event_id(name: str, value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError:
        fail(f"{name}: must be an event id, a UUID", code=WRONG_USAGE)


def _event_type(value: str | None) -> str | None:
    if value is None:
        return None
    known = {str(each) for each in EventType}
    meant = value if value in known else _PREFIX + value
    if meant not in known:
        names = ", ".join(sorted(name.removeprefix(_PREFIX) for name in known))
        fail(f"--type: must be one of {names}", code=WRONG_USAGE)
    return meant


def _moment(name: str, value: str | None) -> datetime | None:
    if value is None:
        return None
    if ago := _AGO.fullmatch(value):
        return clock.now() - timedelta(**{_UNITS[ago["unit"]]: int(ago["count"])})
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        fail(f"{name}: must be an ISO 8601 time, or a duration such as 2h", code=WRONG_USAGE)
    if moment.tzinfo is None:
        fail(f"{name}: must name its time zone", code=WRONG_USAGE)
    return moment
