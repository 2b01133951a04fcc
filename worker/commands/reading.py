"""show, list, stats: read what is stored, for people and for programs; opens the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeVar

import sqlalchemy.exc
from sqlalchemy import Engine, create_engine

from config.settings import DatabaseSettings, load
from worker.adapters.postgres.error_messages import fault_line
from worker.adapters.postgres.pgbouncer import open_engine
from worker.adapters.postgres.reports.refused import RefusedReports
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
# As many as fit on a line.
_POLLS_SHOWN = 10
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
    """Open the database for reading; a fault ends the command with one line."""
    settings = load(DatabaseSettings)
    with (
        database_faults_in_one_line(),
        kind(settings.database_url.get_secret_value()) as opened,
    ):
        yield opened


@contextmanager
def writing(settings: DatabaseSettings) -> Iterator[Engine]:
    """Open the database for changes; a fault ends the command with one line."""
    engine = open_engine(create_engine, settings.database_url.get_secret_value())
    try:
        with database_faults_in_one_line():
            yield engine
    finally:
        engine.dispose()


@contextmanager
def database_faults_in_one_line() -> Iterator[None]:
    """End the command with one line if the database is unavailable, unmigrated or forbidden."""
    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        fault = fault_line(error)
        if fault is None:
            raise
        fail(fault)


def show(session_id: str, *, as_json: bool) -> None:
    """Show one payment session with its history."""
    with reports(Reports) as opened:
        session = opened.session(session_id)
    if session is None:
        fail(not_tracked(session_id))
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
    """Print counts."""
    with reports(RefusedReports) as opened:
        counts = opened.stats() | {"refused_messages": opened.refused_counts()}
    if as_json:
        print_json(counts)
        return
    print_rows("Payment sessions", counts["sessions"], none="none")
    print_rows("Due now", counts["due"], none="none")
    print_rows("Authorized without an order", counts["unconfirmed"], none="none")
    print_rows("Refused messages", counts["refused_messages"], none="none")
    print_rows("Outbox", counts["outbox"], none="empty")
    print_rows("Accounts", counts["accounts"], none="none used yet")
    print_rows("Detection delay, last 24 h", counts["detection_delays"], none="no transitions")
    print_rows("Detected within, last 24 h", counts["detection_histogram"], none="no transitions")


def not_tracked(session_id: str) -> str:
    """Return the fault of a session id that is not stored."""
    return f"{session_id} is not tracked; `session-worker track {session_id}` tracks it."


def _latest_polls(polls: Sequence[dict[str, Any]]) -> str | None:
    """Return the times of the latest polls in one line."""
    said = [f"{poll['at']:%H:%M:%S}" + " failed" * poll["failed"] for poll in polls[-_POLLS_SHOWN:]]
    return ", ".join(said) or None


def _transition(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "#": row["sequence"],
        "from": row["from_status"],
        "to": row["to_status"],
        "occurred_at": row["occurred_at"],
        "detected_after_s": row["detection_delay_seconds"],
    }


def _delivery(row: dict[str, Any]) -> dict[str, Any]:
    if row["delivered_at"]:
        state = f"delivered {text(row['delivered_at'])}"
    elif row["dead_at"]:
        state = f"given up {text(row['dead_at'])}: {row['last_error']}"
    else:
        state = f"next attempt {text(row['next_attempt_at'])}: {row['last_error'] or 'none yet'}"
    return {
        "#": row["sequence"],
        "event": row["event_type"].removeprefix("payment_session."),
        "sink": row["sink"],
        "attempts": row["attempts"],
        "state": state,
    }
