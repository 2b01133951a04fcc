"""show, list, stats: what is stored, told to people and to programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeVar

import sqlalchemy.exc

from config.settings import DatabaseSettings, load
from worker.adapters.postgres.error_messages import fault_line
from worker.adapters.postgres.reports.sessions import Reports
from worker.commands.output import WRONG_USAGE, fail, print_facts, print_json, print_rows, text
from worker.domain.session import STATUSES, Outcome

_FACTS = (
    *("account", "kind", "reference", "session_url", "tracked_at", "expires_at"),
    *("status", "outcome", "finished_at", "order_id", "klarna_reference"),
    *("poll_count", "consecutive_failures", "last_polled_at", "last_error"),
    *("next_poll_at", "nudged_at", "lease_expires_at"),
    *("authorization_expires_at", "next_warning_at", "authorization_lapsed_at"),
    *("confirmed_at", "confirmed_order_id"),
)
# As many as a line holds.
_POLLS_TOLD = 10
_LISTED = (
    *("session_id", "kind", "status", "outcome", "poll_count", "tracked_at", "next_poll_at"),
    "reference",
)
_UNCONFIRMED = (
    *("session_id", "reference", "account", "authorization_expires_at"),
    "authorization_lapsed_at",
)

ReportsT = TypeVar("ReportsT", bound=Reports)


@contextmanager
def reports(kind: type[ReportsT]) -> Iterator[ReportsT]:
    """Open the database for reading; one that cannot be read ends the command with one line."""
    settings = load(DatabaseSettings)
    with (
        database_faults_in_one_line(),
        kind(settings.database_url.get_secret_value()) as opened,
    ):
        yield opened


@contextmanager
def database_faults_in_one_line() -> Iterator[None]:
    """End the command with one line where the database is away, not migrated or not its to use."""
    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        fault = fault_line(error)
        if fault is None:
            raise
        fail(fault)


def show(session_id: str, *, as_json: bool) -> None:
    """Tell one payment session's story."""
    with reports(Reports) as opened:
        session = opened.session(session_id)
    if session is None:
        fail(f"{session_id} is not followed; `session-worker track {session_id}` starts it.")
    if as_json:
        print_json(session)
        return
    title = f"Payment session {text(session['session_id'])}"
    polls = _latest_polls(session["polls"])
    print_facts(title, {name: session[name] for name in _FACTS} | {"latest_polls": polls})
    print_rows("Transitions", [_transition(r) for r in session["transitions"]], none="none yet")
    print_rows("Deliveries", [_delivery(r) for r in session["deliveries"]], none="none yet")


def list_sessions(*, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401 - filters of Reports
    """List the newest payment sessions that match."""
    _refuse_unknown("--outcome", wanted.get("outcome"), list(Outcome))
    with reports(Reports) as opened:
        rows = opened.sessions(**wanted)
    if not rows:
        # Not before: Klarna may send one that is not known here.
        _refuse_unknown("--status", wanted.get("status"), sorted(STATUSES))
    if as_json:
        print_json(rows)
        return
    names = _UNCONFIRMED if wanted.get("only_unconfirmed") else _LISTED
    listed = [{name: row[name] for name in names} for row in rows]
    print_rows("Payment sessions", listed, none="none match")


def _refuse_unknown(option: str, value: str | None, choices: Sequence[str]) -> None:
    """End the command where the value is none of the choices, with what was meant or all."""
    if value is None or value in choices:
        return
    meant = {choice.lower(): choice for choice in choices}
    close = get_close_matches(value.lower(), meant, n=1)
    hint = f"did you mean {meant[close[0]]}?" if close else f"choose from {', '.join(choices)}"
    fail(f"{option}: there is no {value}: {hint}", code=WRONG_USAGE)


def stats(*, as_json: bool) -> None:
    """Count what there is."""
    with reports(Reports) as opened:
        counted = opened.stats()
    if as_json:
        print_json(counted)
        return
    print_rows("Payment sessions", counted["sessions"], none="none")
    print_rows("Due now", counted["due"], none="nothing")
    print_rows("Authorized without an order", counted["unconfirmed"], none="none")
    print_rows("Outbox", counted["outbox"], none="empty")
    print_rows("Accounts", counted["accounts"], none="none read yet")
    print_rows("Detection delay, last day", counted["detection_delays"], none="no transition")
    print_rows("Seen within, last day", counted["detection_histogram"], none="no transition")


def _latest_polls(polls: Sequence[dict[str, Any]]) -> str | None:
    """The last few's times of day in one line."""
    said = [f"{poll['at']:%H:%M:%S}" + " failed" * poll["failed"] for poll in polls[-_POLLS_TOLD:]]
    return ", ".join(said) or None


def _transition(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "#": row["sequence"],
        "from": row["from_status"],
        "to": row["to_status"],
        "occurred_at": row["occurred_at"],
        "seen_after_s": row["detection_delay_seconds"],
    }


def _delivery(row: dict[str, Any]) -> dict[str, Any]:
    if row["delivered_at"]:
        state = f"delivered {text(row['delivered_at'])}"
    elif row["dead_at"]:
        state = f"dead {text(row['dead_at'])}: {row['last_error']}"
    else:
        state = f"waits for {text(row['next_attempt_at'])}: {row['last_error'] or 'not tried yet'}"
    return {
        "#": row["sequence"],
        "event": row["event_type"].removeprefix("payment_session."),
        "sink": row["sink"],
        "tries": row["attempts"],
        "state": state,
    }
